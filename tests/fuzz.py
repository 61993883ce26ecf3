"""The fuzzers, one after another, for a fixed time; scripts/fuzz runs it.

    python -m tests.fuzz [SECONDS] [--seed N] [--only codec,session] [--keep DIRECTORY]

| fuzzer | what is held |
|---|---|
| codec | random schemas, values and damaged bytes: the native engine says what the plain one says |
| conform | conforming a value gives what encoding and decoding it gives, with either engine |
| session | mutated streams: in any pieces a session's events, answers and failures are alike; nothing else is raised |
| calls | scripts of calls, cut and damaged bytes, time, cancelling, ends: both engines write and answer the same |

Each runs in a process of its own, so that one that crashes or hangs is caught like one that fails. An input is made
from its seed alone: what was found is kept as a file that names the seed, what was said, and how to do it again.
"""

import argparse
import faulthandler
import importlib
import mmap
import random
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[1]
STARTING, ENDING = 20.0, 30.0
"""Seconds that a fuzzer may take to start, and that its last input may take."""
PROGRESS = struct.Struct("=QQ")  # the seed that is at work, and how many were done


def codec(seed: int) -> None:
    from tests.avro.codec.test_native import fuzz_once

    fuzz_once(random.Random(seed))


def conform(seed: int) -> None:
    from tests.avro.codec.test_conform import compare

    compare(random.Random(seed))


def session(seed: int) -> None:
    from tests.wire.fuzz_session import case

    case(seed)


def calls(seed: int) -> None:
    from tests.net.fuzz_calls import case

    case(seed)


FUZZERS: dict[str, Callable[[int], None]] = {"codec": codec, "conform": conform, "session": session, "calls": calls}
"""Each makes the input of a seed and tries it; AssertionError, or any other, is a find."""


def named(name: str) -> Callable[[int], None]:
    """One of the fuzzers, or any function as `module:function`."""
    module, _, function = name.partition(":")
    found: Callable[[int], None] = getattr(importlib.import_module(module), function) if function else FUZZERS[name]
    return found


def work(name: str, seconds: float, seed: int, progress: Path) -> None:
    """In the fuzzer's own process: input after input. The seed is written down before it is tried."""
    faulthandler.enable()
    attempt, done = named(name), 0
    with progress.open("r+b") as file, mmap.mmap(file.fileno(), PROGRESS.size) as shown:
        end = time.monotonic() + seconds
        while done == 0 or time.monotonic() < end:
            shown[:] = PROGRESS.pack(seed + done, done)
            attempt(seed + done)
            done += 1
        shown[:] = PROGRESS.pack(seed + done, done)


def run(name: str, seconds: float, seed: int, keep: Path) -> bool:
    """One fuzzer for about so many seconds; prints what became of it. False if it found something."""
    with tempfile.TemporaryDirectory() as folder:
        progress = Path(folder, "progress")
        progress.write_bytes(bytes(PROGRESS.size))
        command = [sys.executable, "-m", "tests.fuzz", str(seconds), "--seed", str(seed), "--work", name, str(progress)]
        try:
            done = subprocess.run(
                command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
                timeout=seconds + STARTING + ENDING, check=False,
            )  # fmt: skip
            said, ended = done.stdout, f"status {done.returncode}" if done.returncode else ""
        except subprocess.TimeoutExpired as error:
            said, ended = str(error.output or ""), f"no end within {ENDING:.0f} s"
        at, count = PROGRESS.unpack(progress.read_bytes())
    if not ended:
        print(f"{name}: {count:,} inputs, seeds {seed} to {seed + count - 1}", flush=True)
        return True
    again = f"python -m tests.fuzz 0 --seed {at} --only {name}"
    keep.mkdir(parents=True, exist_ok=True)
    path = keep / f"{name.replace(':', '.')}-{at}.txt"
    path.write_text(f"{name}, seed {at}: {ended}\nAgain: {again}\n\n{said}")
    print(
        f"{name}: seed {at} after {count:,} inputs: {ended}\n{said[-3000:]}\nkept in {path}; again: {again}", flush=True
    )
    return False


def main() -> int:
    """The command line. 1 if anything was found."""
    parser = argparse.ArgumentParser(prog="scripts/fuzz", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("seconds", nargs="?", type=float, default=60.0, help="for all together (default: 60)")
    parser.add_argument("--seed", type=int, help="the first seed (default: a random one, which is printed)")
    parser.add_argument("--only", default=",".join(FUZZERS), help="comma-separated (default: %(default)s)")
    parser.add_argument("--keep", type=Path, default=ROOT / "fuzz", help="where finds go (default: fuzz/)")
    parser.add_argument("--work", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        work(options.work[0], options.seconds, options.seed, Path(options.work[1]))
        return 0
    names = options.only.split(",")
    seed = random.randrange(2**32) if options.seed is None else options.seed
    print(f"seed {seed}, {options.seconds / len(names):.0f} s each", flush=True)
    well = [run(name, options.seconds / len(names), seed, options.keep) for name in names]
    return int(not all(well))


if __name__ == "__main__":
    raise SystemExit(main())
