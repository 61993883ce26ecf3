import subprocess
import sys

import pytest

from splnode.avro import codec
from splnode.avro.codec import _engine
from splnode.avro.schema import parse_schema
from splnode.errors import ConfigError


def test_the_plain_engine_is_always_there_and_last() -> None:
    assert codec.engines()[-1] == "plain"


def test_the_engine_is_the_one_that_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SPLNODE_ENGINE", raising=False)
    fastest = codec.engines()[0]
    assert _engine(None) is _engine(fastest)
    assert codec.engine_used() == fastest
    monkeypatch.setenv("SPLNODE_ENGINE", "plain")
    assert _engine(None) is _engine("plain")
    assert codec.engine_used() == "plain"
    assert _engine(fastest).__name__ == f"splnode.avro.codec.{'_native' if fastest == 'native' else 'plain'}"


def test_an_unknown_engine_is_refused_with_those_that_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPLNODE_ENGINE", "quick")
    with pytest.raises(ConfigError, match=r"'quick' is not there .*: .*plain"):
        codec.encoder(parse_schema('"int"'))


def test_without_the_native_engine_the_plain_one_serves() -> None:
    code = (
        "import sys; sys.modules['splnode.avro.codec._native'] = None\n"
        "from splnode.avro import codec; from splnode.avro.schema import parse_schema\n"
        "assert codec.engines() == ('plain',)\n"
        "assert codec.encoder(parse_schema('\"int\"')).encode(1) == b'\\x02'\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)


@pytest.mark.parametrize("module", ["codec", "codec.plan", "resolution", "defaults", "protocol", "schema"])
def test_each_module_can_be_the_first_that_is_imported(module: str) -> None:
    subprocess.run([sys.executable, "-c", f"import splnode.avro.{module}"], check=True, timeout=30)


def test_the_codec_does_not_import_what_only_parsing_needs() -> None:
    code = (
        "import sys, splnode.avro.codec, splnode.avro.protocol\n"
        "assert not {'avro', 'msgspec', 'splnode.avro.codec.binding'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)
