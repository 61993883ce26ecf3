"""What a pipeline needs of others is the same in both engines."""

import re
from pathlib import Path

import splnode.wire
from splnode.wire.holder import Holder

NATIVE = Path(splnode.wire.__file__).parent / "native"


def test_the_native_pipeline_takes_what_there_is_of_a_holder() -> None:
    header = NATIVE / "pipeline.h"
    if not header.exists():  # installed without its sources
        return
    listed = re.search(r"#define HOLDER\(X\)(.*?)\n\n", header.read_text(), re.DOTALL)
    assert listed is not None
    named = set(re.findall(r"X\((\w+)\)", listed.group(1)))
    assert named | {"high_water"} == set(Holder._fields)  # which is a number
