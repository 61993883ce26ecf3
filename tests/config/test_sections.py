"""splnode.config.sections: the file and the code say the same."""

import re
import tomllib
from pathlib import Path

import msgspec
import pytest

from splnode.config import Config, load, parse, sections
from splnode.limits import Limits

FILE = Path(__file__).parents[2] / "config" / "splnode.toml"
KEY = re.compile(r"^(# )?([a-z_]+) = (.+)$")


def documented() -> dict[str, dict[str, tuple[bool, object, str]]]:
    """Section -> key -> (set?, value, the sentence above it)."""
    found: dict[str, dict[str, tuple[bool, object, str]]] = {}
    section, sentence = "", ""
    for line in FILE.read_text("utf-8").splitlines():
        if header := re.fullmatch(r"\[(\w+)\]", line):
            section, sentence = header[1], ""
            found[section] = {}
        elif key := KEY.match(line):
            found[section][key[2]] = (key[1] is None, tomllib.loads(f"x = {key[3]}")["x"], sentence)
            sentence = ""
        elif line.startswith("# "):
            sentence = f"{sentence} {line[2:]}".strip()
    return found


class TestFile:
    def test_has_every_section_and_key_of_the_code_in_its_order(self) -> None:
        code = {name: [field.name for field in msgspec.structs.fields(struct)] for name, struct in sections().items()}
        assert {name: list(keys) for name, keys in documented().items()} == code

    def test_gives_each_default(self) -> None:
        for section, struct in sections().items():
            for field in msgspec.structs.fields(struct):
                is_set, value, _ = documented()[section][field.name]
                fixed = field.default is not msgspec.NODEFAULT and field.default is not None
                assert is_set == fixed, f"{section}.{field.name}: only a fixed default stands uncommented"
                if is_set:
                    assert (value, type(value)) == (field.default, type(field.default)), f"{section}.{field.name}"

    def test_has_a_sentence_for_each_key(self) -> None:
        for section, keys in documented().items():
            for key, (_, _, sentence) in keys.items():
                assert re.match(r'["A-Z]', sentence) and sentence.endswith("."), f"{section}.{key}: {sentence!r}"

    def test_gives_the_defaults_when_loaded(self) -> None:
        loaded = load(FILE)
        assert loaded == Config()

    def test_its_examples_are_good_too(self) -> None:
        text = re.sub(r"^# ([a-z_]+ = )", r"\1", FILE.read_text("utf-8"), flags=re.MULTILINE)
        assert parse(text).node.id == "kitchen"


class TestDefaults:
    def test_limits_are_those_of_the_class(self) -> None:
        assert Config().limits == Limits()

    def test_listen_on_loopback_and_a_socket_only(self) -> None:
        assert [endpoint.is_local for endpoint in Config().node.endpoints] == [True, True]

    def test_directories(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
        settings = Config()
        assert settings.directory == tmp_path / "splnode"
        assert settings.data_directory == tmp_path / "splnode/data"
        assert settings.modules_directory is None
