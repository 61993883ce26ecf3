"""splnode.avro.digest: the test suites of RFC 1321 and FIPS 180-4."""

import subprocess
import sys

from splnode.avro.digest import md5, sha256


def test_known_digests() -> None:
    assert md5(b"").hex() == "d41d8cd98f00b204e9800998ecf8427e"
    assert md5(b"abc").hex() == "900150983cd24fb0d6963f7d28e17f72"
    assert sha256(b"abc").hex() == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_the_same_where_python_has_no_md5_of_its_own() -> None:
    program = (
        "import sys; sys.modules['_md5'] = None\n"
        "from splnode.avro.digest import md5\n"
        "assert md5(b'abc').hex() == '900150983cd24fb0d6963f7d28e17f72'"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=30)
