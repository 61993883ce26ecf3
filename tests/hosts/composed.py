"""What a newcomer types: Compose, with the files of this repository, on a real engine."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.hosts.containers import BUILDS, build
from tests.hosts.node import ROOT
from tests.require import require


def works(*words: str) -> bool:
    return bool(shutil.which(words[0])) and subprocess.run(words, capture_output=True, check=False).returncode == 0


def composer() -> list[str] | None:
    """How Compose is called here: a part of the docker command, or a program."""
    return next((words for words in (["docker", "compose"], ["docker-compose"]) if works(*words, "version")), None)


class Composed:
    """The hosts of those files, as a project of its own."""

    def __init__(self, project: str, *files: str) -> None:
        self.project = project
        self._options = ("--project-name", project, *(word for file in files for word in ("--file", file)))

    @contextmanager
    def up(self, *hosts: str) -> Iterator[None]:
        """These hosts, or all, healthy; nothing is left of them in the end."""
        require(works("docker", "info"), "docker", "start a Docker engine")
        require(composer() is not None, "docker compose", "install Docker Compose")
        try:
            build()
            self("up", "--detach", "--wait", "--no-build", *hosts)
            yield
        finally:
            self("down", "--volumes", "--timeout", "5", check=False)

    def __call__(self, *words: str, check: bool = True) -> str:
        """What Compose prints."""
        done = self.run(*words)
        assert not check or done.returncode == 0, f"{' '.join(done.args)}: {done.stdout}{done.stderr}"
        return done.stdout

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """What Compose does, and what comes of it."""
        command = [*(composer() or []), *self._options, *words]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=BUILDS, check=False)

    def shell(self, host: str, *words: str) -> list[Any]:
        """The results of a splnode command on a host."""
        return [json.loads(line) for line in self("exec", "--no-TTY", host, "splnode", *words).splitlines()]

    def refused(self, host: str, *words: str) -> tuple[int, str]:
        """The exit code of a splnode command that fails there, and what it says."""
        done = self.run("exec", "--no-TTY", host, *words)
        assert done.stdout == ""
        return done.returncode, done.stderr
