"""One of the processes of a node that has several: started by `splnode serve --workers`, not by hand."""

import argparse
import os

from splnode.cli.allocator import keep_large_buffers
from splnode.cli.loop import run_long
from splnode.net.memory import memory_limit
from splnode.workers.worker import work


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of `worker`."""
    parser.add_argument("number", type=int, help="which worker it is, from 1 on")
    parser.add_argument("descriptor", type=int, help="the socket on which its supervisor tells it what to do")
    parser.add_argument("parent", type=int, help="the supervisor's process")


def run(args: argparse.Namespace) -> int:
    """Serves until the supervisor says stop, or has gone."""
    memory = memory_limit()
    keep_large_buffers(memory=None if memory is None else memory // (os.cpu_count() or 1))
    run_long(work(args.number, args.descriptor, args.parent))
    return 0
