"""Fuzzing that is guided by coverage, target after target, for a fixed time; scripts/fuzz runs it.

    scripts/fuzz [SECONDS] [--only codec,session] [--grow] [--keep DIRECTORY]
    scripts/fuzz --again FILE

| target | input | what is held, beside that nothing crashes, hangs or raises what it should not |
|---|---|---|
| session | bytes of a peer | in any pieces the sessions' events, answers and failures are alike, in each framing |
| handshake, greeting | bytes of a peer | what was read is written and read alike; what is there in part is waited for |
| request, answer | bytes of a peer | a whole connection, HTTP too: both engines write, answer and close the same |
| guarded | bytes of a peer | the same with a policy: nothing runs that this peer may not call |
| http_answer | bytes of a server | alike in any pieces |
| calls | a script | calls, damage, time, cancelling, ends: both engines write and answer the same |
| codec, conform | a schema and values | both engines say the same; conforming is encoding and decoding |
| decode | bytes of a datum | both engines say the same; what was read is written and read alike |
| schema, protocol | texts | parsed again from each form it is the same; what cannot be resolved has reasons |
| json_value, record | JSON, single objects | what was read is shown, and read back as the same bytes |
| txt_record, config, endpoint, contract, peers | texts | refused with a reason, or printed and read alike |
| policy, tokens | files | the first rule that fits decides; no token makes more of somebody than it may |
| identity, plain | bytes of a peer | nobody becomes more than they are by what they say; no secret in a refusal |
| hello | bytes of a peer | the host it asks TLS for: the same that TLS finds, however it is cut, once all is there |

Each runs in a process of its own, under libFuzzer (`atheris`), on from what `tests/corpus` holds. Where `scripts/fuzz`
has built the native engines with clang they are guided by their own coverage too, under AddressSanitizer and UBSan.
What was found is kept as a file, beside it what was said and how to do it again.
"""

import argparse
import atexit
import gc
import importlib
import importlib.util
import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, NamedTuple

from tests.fuzzers import corpus

ROOT: Final = Path(__file__).parents[1]
TARGETS: Final = {
    **dict.fromkeys(
        ("session", "handshake", "greeting", "request", "guarded", "answer", "http_answer", "calls"), "wire"
    ),
    **dict.fromkeys(("codec", "conform", "decode", "schema", "protocol", "json_value", "record"), "values"),
    **dict.fromkeys(("txt_record", "config", "endpoint", "contract", "peers"), "texts"),
    **dict.fromkeys(("policy", "tokens", "identity", "plain", "hello"), "access"),
}
"""Where each is: a module of tests/fuzzers."""
Target = Callable[[bytes], None]
STARTING, HANGING = 180.0, 25
"""Seconds that a target may take to start and to end, and that one input may take."""
LIBRARIES: Final = ("splnode", "h11")
"""What is watched for coverage, beside the native engines."""


class Run(NamedTuple):
    """What libFuzzer said of one run, and how it ended: "" for well."""

    ended: str
    said: str

    def number(self, pattern: str) -> int:
        """The last number that stands there."""
        found = re.findall(pattern, self.said)
        return int(found[-1]) if found else 0

    def __str__(self) -> str:
        inputs, kept = self.number(r"number_of_executed_units: (\d+)"), self.number(r" corp: (\d+)")
        edges, features = self.number(r" cov: (\d+)"), self.number(r" ft: (\d+)")
        return f"{inputs:,} inputs, {edges:,} branches, {features:,} features, {kept:,} inputs worth keeping"


def named(name: str) -> Target:
    """One of the targets, or any function as `module:function`."""
    module, _, function = name.partition(":")
    if not function:
        module, function = f"tests.fuzzers.{TARGETS[name]}", name
    found: Target = getattr(importlib.import_module(module), function)
    return found


def work(name: str, arguments: Sequence[str]) -> None:
    """In the target's own process, with libFuzzer's arguments. Does not return."""
    import atheris

    itself = f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m tests.fuzz --work {name} "$@"\n'
    with tempfile.NamedTemporaryFile("w", prefix="splnode-fuzz-", delete=False) as file:
        file.write(itself)  # how libFuzzer starts itself again, to merge
    command = Path(file.name)
    command.chmod(0o700)
    atexit.register(command.unlink)
    with atheris.instrument_imports(include=list(LIBRARIES)):  # for what is imported later, too
        atheris.Setup([str(command), *arguments], named(name))
        gc.freeze()  # what is here stays, and need not be looked at each time
        atheris.Fuzz()


def libfuzzer(name: str, arguments: Sequence[str], patience: float) -> Run:
    """A process that runs a target."""
    environment = {**os.environ}
    if environment.pop("SPLNODE_FUZZ_SANITIZED", None):
        where = importlib.util.find_spec("atheris")
        assert where is not None and where.origin is not None
        library = Path(where.origin).parents[1] / "asan_with_fuzzer.so"
        environment |= {"LD_PRELOAD": str(library), "PYTHONMALLOC": "malloc", "ASAN_OPTIONS": "detect_leaks=0"}
    command = [sys.executable, "-m", "tests.fuzz", "--work", name, *arguments]
    try:
        done = subprocess.run(
            command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            errors="replace", timeout=patience, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        return Run("no end in time", (error.output or b"").decode("utf-8", "replace"))
    said = "".join(line for line in done.stdout.splitlines(True) if not line.startswith("INFO: Instrumenting"))
    return Run(f"status {done.returncode}" if done.returncode else "", said)


def run(name: str, seconds: float, keep: Path, *, grow: bool = False, hanging: int = HANGING) -> bool:
    """One target for about so many seconds; prints what became of it. False if it found something."""
    keep = keep / name.replace(":", ".")
    keep.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        inputs, least = Path(folder, "inputs"), Path(folder, "least")
        inputs.mkdir()
        for number, data in enumerate(corpus.load(name)):
            (inputs / str(number)).write_bytes(data)
        options = [
            f"-max_total_time={max(1, round(seconds))}", f"-timeout={hanging}", "-max_len=4096", "-rss_limit_mb=4096",
            "-print_final_stats=1", f"-report_slow_units={hanging}", f"-artifact_prefix={keep}/",
        ]  # fmt: skip
        found = libfuzzer(name, [*options, str(inputs)], seconds + STARTING + hanging)
        if found.ended or found.number(r"number_of_executed_units: (\d+)") == 0:
            tell(name, found, keep)
            return False
        print(f"{name}: {found}", flush=True)
        if grow:
            least.mkdir()
            merged = libfuzzer(name, ["-merge=1", "-max_len=4096", str(least), str(inputs)], 10 * STARTING)
            minimal = [path.read_bytes() for path in least.iterdir()]
            if minimal and not merged.ended:
                count = corpus.save(name, minimal)
                print(f"{name}: {count:,} inputs are kept in tests/corpus", flush=True)
    if not any(keep.iterdir()):
        keep.rmdir()
    return True


def tell(name: str, found: Run, keep: Path) -> None:
    """A find: its input is there already, written by libFuzzer; what was said goes beside it."""
    written = re.findall(r"Test unit written to (.+)", found.said)
    path = Path(written[-1]) if written else keep / "no-input"
    shown = Path(os.path.relpath(path, keep.parents[1]))
    again = f"scripts/fuzz --again {shown}" if written else f"scripts/fuzz --only {name}"
    path.with_suffix(".txt").write_text(f"{name}: {found.ended}\nAgain: {again}\n\n{found.said}")
    print(f"{name}: {found.ended}\n{found.said[-3000:]}\nkept in {shown}; again: {again}", flush=True)


def main() -> int:
    """The command line. 1 if anything was found."""
    if sys.argv[1:2] == ["--work"]:
        work(sys.argv[2], sys.argv[3:])
        return 0
    parser = argparse.ArgumentParser(prog="scripts/fuzz", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("seconds", nargs="?", type=float, default=600.0, help="for all together (default: 600)")
    parser.add_argument("--only", default=",".join(TARGETS), help="comma-separated (default: %(default)s)")
    parser.add_argument("--keep", type=Path, default=ROOT / "fuzz", help="where finds go (default: fuzz/)")
    parser.add_argument("--grow", action="store_true", help="put what was worth keeping into tests/corpus")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="at the same time (default: %(default)s)")
    parser.add_argument("--again", type=Path, help="one input that was found: what comes of it")
    options = parser.parse_args()
    if importlib.util.find_spec("atheris") is None:
        print("scripts/fuzz: needs atheris, which is there for CPython 3.11 to 3.13 on Linux", file=sys.stderr)
        return 2
    if options.again:
        path = (options.keep.parent / options.again).resolve()
        found = libfuzzer(path.parent.name, [f"-timeout={HANGING}", str(path)], STARTING + HANGING)
        print(found.said if found.ended else "nothing is wrong with it")
        return int(bool(found.ended))
    names = options.only.split(",")
    native = "with" if "SPLNODE_FUZZ_SANITIZED" in os.environ else "WITHOUT"
    each = options.seconds * options.jobs / len(names)
    print(f"{len(names)} targets, {each:.0f} s each, {options.jobs} at a time, {native} the native engines' coverage")
    with ThreadPoolExecutor(options.jobs) as turns:
        well = list(turns.map(lambda name: run(name, each, options.keep, grow=options.grow), names))
    return int(not all(well))


if __name__ == "__main__":
    raise SystemExit(main())
