"""The native engine: plans carried out in C, with the interface and the results of `plain`.

ImportError where the extension was not built (no C compiler at the install): then `plain` serves.
"""

from splnode.avro.codec._native import Conformer, Decoder, Encoder

__all__ = ["Conformer", "Decoder", "Encoder"]
