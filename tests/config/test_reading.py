"""splnode.config.reading: every mistake is named with its fix."""

import re
from pathlib import Path

import pytest

from splnode.config import Config, load, parse
from splnode.errors import ConfigError


class TestParse:
    def test_takes_what_is_given_and_defaults_for_the_rest(self) -> None:
        settings = parse('[calls]\ntimeout = 5\n[log]\nlevel = "debug"')
        assert (settings.calls.timeout, settings.calls.force_codec) == (5.0, False)
        assert settings.log.level == "debug"
        assert parse("") == Config()

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ('listen = ["x"]', ["key listen", "belongs into [node]"]),
            ("listn = 3", ["key listn", "[node], [limits]"]),
            ("[nod]\na = 1", ["section [nod]", "did you mean [node]?"]),
            ("[zzz]\na = 1", ["section [zzz]", "there are [node], "]),
            ("node = 3", ["node is a section", "[node]"]),
            ("[limits]\ndepht = 3", ["limits.depht", "did you mean limits.depth?"]),
            ("[calls]\nbackoff_max = 1", ["calls.backoff_max", "did you mean channels.backoff_max?"]),
            ("[admission]\nfoo = 1", ["admission.foo", "[admission] has running, queued"]),
            ("[limits]\ndepth = 0", ["limits.depth", ">= 1", "found 0"]),
            ("[limits]\ndepth = 513", ["limits.depth", "<= 512", "found 513"]),
            ('[limits]\ndepth = "a"', ["limits.depth", "expected `int`", "found 'a'"]),
            ("[limits]\ndepth = 1.5", ["limits.depth", "expected `int`", "found 1.5"]),
            ("[limits]\nmessage_bytes = 2147483648", ["limits.message_bytes", "2147483648"]),
            ("[calls]\ntimeout = true", ["calls.timeout", "expected `float`", "found True"]),
            ("[calls]\ntimeout = inf", ["calls.timeout", "<= 86400", "found inf"]),
            ("[calls]\ntimeout = nan", ["calls.timeout", "> 0", "found nan"]),
            ("[calls]\ntimeout = 0", ["calls.timeout", "> 0", "found 0"]),
            ('[log]\nlevel = "loud"', ["log.level", "debug, info, warning, error", "found 'loud'"]),
            ('[data]\nsync = "off"', ["data.sync", "full, normal", "found 'off'"]),
            ('[node]\nid = "a b"', ["node.id", "found 'a b'"]),
            ('[node]\nlisten = "tcp://127.0.0.1:1"', ["node.listen", "expected `array`"]),
            ("[node]\nlisten = [1]", ["node.listen[0]", "expected `str`", "found 1"]),
            ('[node]\nlisten = ["tcp:/x"]', ["node.listen", "'tcp:/x'", "tcp://127.0.0.1:9090"]),
            ("[node.id]\nx = 1", ["node.id", "expected `str"]),
            ("[channels]\nbackoff_max = 0.1", ["channels", "backoff_max = 0.1", "backoff_initial = 0.5"]),
            ("[modules]\nmax_workers = 1", ["modules", "idle_workers = 2", "max_workers = 1"]),
            ("[log]\nlevel", ["not TOML", "Expected '='"]),
            ("x = " + "[" * 100_000, ["not TOML"]),
        ],
    )
    def test_names_the_mistake_and_the_fix(self, text: str, words: list[str]) -> None:
        with pytest.raises(ConfigError) as caught:
            parse(text, "my.toml")
        assert str(caught.value).startswith("my.toml: ")
        for word in words:
            assert word in str(caught.value)


class TestLoad:
    def test_none_gives_the_defaults(self) -> None:
        assert load(None) == Config()

    def test_relative_paths_are_the_files_own(self, tmp_path: Path) -> None:
        file = tmp_path / "node.toml"
        file.write_text('[node]\ndirectory = "state"\n[data]\npath = "/abs"\n[modules]\npath = "../mods"\n')
        settings = load(file)
        assert settings.directory == tmp_path / "state"
        assert settings.data_directory == Path("/abs")
        assert settings.modules_directory == tmp_path / "../mods"

    def test_home_is_expanded(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HOME", "/home/ada")
        file = tmp_path / "node.toml"
        file.write_text('[modules]\npath = "~/mods"\n')
        assert load(file).modules_directory == Path("/home/ada/mods")

    def test_a_missing_file_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match=r"none\.toml.*No such file"):
            load(tmp_path / "none.toml")

    def test_a_file_that_is_not_text(self, tmp_path: Path) -> None:
        (tmp_path / "x.toml").write_bytes(b"a = \xff")
        with pytest.raises(ConfigError, match="not UTF-8: byte 4"):
            load(tmp_path / "x.toml")

    def test_errors_name_the_file(self, tmp_path: Path) -> None:
        (tmp_path / "x.toml").write_text("[limits]\ndepht = 1")
        with pytest.raises(ConfigError, match=re.escape(str(tmp_path / "x.toml"))):
            load(tmp_path / "x.toml")
