"""splnode.config: the file and the code say the same, and every mistake is named with its fix."""

import re
import tomllib
from pathlib import Path

import msgspec
import pytest

from splnode import config
from splnode.config import Config, load, parse, sections
from splnode.endpoint import Endpoint
from splnode.errors import ConfigError
from splnode.limits import Limits

FILE = Path(__file__).parent.parent / "config" / "splnode.toml"
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

    def test_socket_in_the_runtime_directory(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
        assert Config().node.endpoints[1] == Endpoint("unix", path=f"{tmp_path}/splnode.sock")
        assert config.default_socket().path == f"{tmp_path}/splnode.sock"

    @pytest.mark.parametrize("given", [None, "", "relative", "/does/not/exist"])
    def test_socket_below_home_where_there_is_no_runtime_directory(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, given: str | None
    ) -> None:
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.delenv("XDG_STATE_HOME", raising=False)
        monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
        if given is not None:
            monkeypatch.setenv("XDG_RUNTIME_DIR", given)
        monkeypatch.setattr("os.getuid", lambda: 987654)
        assert config.runtime_directory() == tmp_path / ".local/state/splnode"

    def test_socket_in_run_user(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
        monkeypatch.setattr("os.getuid", lambda: 4711)
        monkeypatch.setattr("os.access", lambda path, mode: path == "/run/user/4711")
        assert config.runtime_directory() == Path("/run/user/4711")

    def test_directories(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
        settings = Config()
        assert settings.directory == tmp_path / "splnode"
        assert settings.data_directory == tmp_path / "splnode/data"
        assert settings.modules_directory is None


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
