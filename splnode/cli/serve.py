"""Starts a node and serves until SIGTERM or SIGINT (Ctrl-C).

The log goes to stderr. Once the node serves, one JSON object stands on stdout: its id, where it listens, what it
serves. The first SIGTERM or SIGINT drains it, a second one ends it at once; SIGHUP reads --config again.
"""

import argparse
import asyncio
import os
import signal
from pathlib import Path
from typing import Final

import msgspec
import structlog

from splnode import config
from splnode.access.memory import keep_private
from splnode.cli import encryption, output
from splnode.cli.allocator import keep_large_buffers
from splnode.cli.failure import UsageError, describe, say
from splnode.cli.loop import run_long
from splnode.cli.target import ENDPOINTS
from splnode.endpoint import Endpoint
from splnode.errors import ConfigError
from splnode.net.memory import memory_limit
from splnode.node import Node
from splnode.observe import logging

STDERR: Final = 2

log = structlog.get_logger("splnode.cli")


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of `serve`."""
    parser.add_argument("--config", metavar="FILE", type=Path, help="a TOML file of settings; flags go before it")
    parser.add_argument(
        "--listen",
        metavar="ENDPOINT",
        action="append",
        help=f"{ENDPOINTS}; may be given more than once"
        " (default: tcp://127.0.0.1:9090 and a Unix socket in the runtime directory)",
    )
    parser.add_argument(
        "--id", metavar="NAME", help="what others call this node (default: a name made at its first start, and kept)"
    )
    parser.add_argument(
        "--peer",
        metavar="ENDPOINT",
        action="append",
        help="where another node is, besides discovery.peers and SPLNODE_PEERS; may be given more than once",
    )
    parser.add_argument(
        "--mdns",
        choices=("auto", "on", "off"),
        help="whether it finds others by multicast DNS and is found (default: auto, where other hosts may connect)",
    )
    parser.add_argument(
        "--service",
        metavar="PROTOCOL=MODULE:CLASS",
        action="append",
        help="serves a class of one's own: shop.avpr=shop.py:Shop, or the names of both; may be given more than once",
    )
    parser.add_argument("--modules", metavar="DIR", help="the directory of the modules, package/api/method.py")
    parser.add_argument("--data", metavar="DIR", help="the directory of the records")
    parser.add_argument(
        "--workers",
        metavar="N",
        help="processes that answer calls, 0 for one a CPU (default: SPLNODE_WORKERS, else 1)",
    )
    parser.add_argument("--policy", metavar="FILE", help="who may call what (splnode policy show has the default)")
    parser.add_argument("--insecure", action="store_true", help="let other hosts connect, unencrypted and unknown")
    encryption.add_options(parser, "the node")
    parser.add_argument("--log-level", choices=("debug", "info", "warning", "error"), help="default: info")
    parser.add_argument("--log-format", choices=("auto", "json", "text"), help="default: auto, text on a terminal")


def run(args: argparse.Namespace) -> int:
    """Serves until told to stop. ConfigError before anything is served."""
    _open_standard_streams()
    settings = settings_of(args)
    logging.configure(settings.log.level, settings.log.format)
    memory = memory_limit()
    processes = settings.node.workers or os.cpu_count() or 1
    keep_large_buffers(settings.limits.message_bytes, None if memory is None else memory // processes)
    if not settings.access.core_dumps:
        keep_private()
    run_long(_serve(args, settings))
    return 0


def settings_of(args: argparse.Namespace) -> config.Config:
    """The settings of the file, and over them those of the flags. ConfigError names what is wrong."""
    settings = config.load(args.config)
    replace = msgspec.structs.replace
    node, log = settings.node, settings.log
    if args.listen:
        for text in args.listen:
            Endpoint.parse(text)
        node = replace(node, listen=tuple(args.listen))
    workers = args.workers or os.environ.get("SPLNODE_WORKERS")
    if workers:
        node = replace(node, workers=_whole(workers, "--workers" if args.workers else "SPLNODE_WORKERS"))
    if args.id:
        node = replace(node, id=config.checked_id(args.id))
    if args.insecure:
        node = replace(node, insecure=True)
    if args.service:
        own = tuple(config.anchored_service(spec, Path.cwd()) for spec in args.service)
        node = replace(node, services=(*node.services, *own))
    tls = settings.tls
    if files := encryption.given(args):
        # What is given in another way stands for all of it: a mesh key for a certificate, or the other way round.
        absolute = {name: str(Path(file).expanduser().absolute()) for name, file in files.items()}
        tls = config.TlsConfig(mutual=tls.mutual, plain=tls.plain, certificates=tls.certificates, **absolute)
    data, modules, discovery = settings.data, settings.modules, settings.discovery
    if args.peer:
        for text in args.peer:
            Endpoint.parse(text)
        discovery = replace(discovery, peers=(*discovery.peers, *args.peer))
    if args.mdns:
        discovery = replace(discovery, mdns=args.mdns)
    if args.data:
        data = replace(data, path=str(Path(args.data).expanduser().absolute()))
    if args.modules:
        folder = Path(args.modules).expanduser().absolute()
        if not folder.is_dir():
            raise ConfigError(f"--modules {args.modules}: there is no such directory")
        modules = replace(modules, path=str(folder))
    if args.policy:
        policy = str(Path(args.policy).expanduser().absolute())
        settings = replace(settings, access=replace(settings.access, policy=policy))
    log = replace(log, level=args.log_level or log.level, format=args.log_format or log.format)
    return replace(settings, node=node, data=data, modules=modules, discovery=discovery, tls=tls, log=log)


def _whole(text: str, name: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) <= config.MOST_WORKERS):
        raise ConfigError(f"{name} {text}: a whole number from 0 to {config.MOST_WORKERS} is needed")
    return int(text)


def _open_standard_streams() -> None:
    """Gives those that were closed to /dev/null: no socket may become what somebody takes for stderr."""
    descriptor = os.open(os.devnull, os.O_RDWR)
    while descriptor <= STDERR:
        descriptor = os.open(os.devnull, os.O_RDWR)
    os.close(descriptor)


async def _serve(args: argparse.Namespace, settings: config.Config) -> None:
    node = _node(settings)
    _on_signals(node, args)
    async with node:
        _announce(node)
        await node.stopped()


def _node(settings: config.Config) -> Node:
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    workers = settings.node.workers or cpus
    if workers == 1:
        return Node(settings)
    from splnode.workers.supervisor import Supervisor

    return Supervisor(settings, workers)


def _announce(node: Node) -> None:
    """The line on stdout; a node serves although nobody reads it."""
    listen = [str(endpoint) for endpoint in node.endpoints]
    try:
        output.emit({"node": node.id, "listen": listen, "services": sorted(node.services)})
    except (OSError, UsageError) as error:
        say(f"stdout: {describe(error)}")
        output.forget_stdout()


def _on_signals(node: Node, args: argparse.Namespace) -> None:
    loop = asyncio.get_running_loop()
    stopping = False

    def stop(number: int) -> None:
        nonlocal stopping
        if stopping:
            # As if there were no handler: whoever waits for this process sees that a signal ended it.
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        stopping = True
        node.stop()

    def reload() -> None:
        try:
            node.reload(settings_of(args))
        except ConfigError as error:
            log.error("nothing was reloaded", reason=str(error))

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop, number)
    loop.add_signal_handler(signal.SIGHUP, reload)
