"""Flows whose only purpose is to show, from the outside, how they are started, ended and killed."""

import contextlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from prefect import flow, get_run_logger, task
from prefect.settings import get_current_settings


def _write(path: str, content: object) -> None:
    """Write the file atomically, because a test polls for it."""
    draft = Path(f"{path}.{os.getpid()}")
    draft.write_text(json.dumps(content))
    draft.rename(path)


def _open_files() -> list[str]:
    found: list[str] = []
    for file in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):  # the one that lists them
            found.append(str(file.readlink()))
    return found


def preload() -> None:
    """The engine's hook."""


@flow
def stamp(path: str) -> None:
    _write(path, time.time())


@flow
async def stamp_async(path: str) -> None:
    _write(path, time.time())


@task
def double(number: int) -> int:
    return 2 * number


@flow(log_prints=True)
def describe(path: str) -> int:
    """What the run sees of its surroundings."""
    get_run_logger().info("logged by the flow")
    print("printed by the flow")
    os.write(1, b"raw stdout\n")
    os.write(2, b"raw stderr\n")
    umask = os.umask(0)
    os.umask(umask)
    _write(
        path,
        {
            "pid": os.getpid(),
            "ppid": os.getppid(),
            "sid": os.getsid(0),
            "cwd": str(Path.cwd()),
            "umask": umask,
            "argv": sys.argv,
            "main": sys.modules["__main__"].__name__,
            "environment": dict(os.environ),
            "files": _open_files(),
            "api_url": get_current_settings().api.url,
            "warm": b"quicksilver.engine.server" in Path("/proc/self/cmdline").read_bytes(),
            "doubled": double.submit(21).result(),
        },
    )
    return 42


@flow
def sleep(path: str, seconds: float = 60.0) -> None:
    """Sleeps, with a process of its own beside it."""
    # Not on the run's pipes: the worker would wait for their end, and so for this process.
    devnull = subprocess.DEVNULL
    child = subprocess.Popen(["sleep", str(seconds)], stdout=devnull, stderr=devnull)
    _write(path, {"pid": os.getpid(), "child": child.pid, "ppid": os.getppid()})
    time.sleep(seconds)
    child.kill()


@flow(timeout_seconds=1)
def too_slow(path: str) -> None:
    _write(path, {"pid": os.getpid()})
    time.sleep(60)


@flow
def fail(path: str) -> None:
    _write(path, {"pid": os.getpid()})
    raise ValueError("on purpose")


@flow
def die(path: str, signal: int = 9) -> None:
    """Killed from inside, as by the kernel when memory runs out."""
    _write(path, {"pid": os.getpid()})
    os.kill(os.getpid(), signal)
    time.sleep(60)


@flow
def leave(path: str, code: int = 3) -> None:
    """Ends without a word to Prefect."""
    _write(path, {"pid": os.getpid()})
    os._exit(code)
