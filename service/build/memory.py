"""The memory that a run may take: past it, what is asked for is refused, not the machine's."""

import resource
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def limited(limit: int | None) -> Generator[None]:
    """Let this process grow to `limit` bytes resident in the block; `None`: as far as it goes.

    More raises `MemoryError` where it is asked for, in Arrow too. What the process has reserved and
    never touched does not count. One block at a time in a process.
    """
    held = _held()
    if limit is None or held is None:
        yield
        return
    resident, reserved = held
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    # At least a batch or two: a limit below what the process has already would refuse everything.
    wanted = reserved + max(limit - resident, _LEAST)
    for bound in (soft, hard):
        if bound != resource.RLIM_INFINITY:
            wanted = min(wanted, bound)
    resource.setrlimit(resource.RLIMIT_DATA, (wanted, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


_LEAST = 128 * 1024 * 1024


def _held() -> tuple[int, int] | None:
    """Bytes resident and reserved; None where the system does not say (only Linux does)."""
    status = Path("/proc/self/status")
    if not status.exists():
        return None
    found = dict(line.split(":", 1) for line in status.read_text().splitlines())
    return tuple(int(found[name].split()[0]) * 1024 for name in ("VmRSS", "VmData"))  # pyright: ignore[reportReturnType]
