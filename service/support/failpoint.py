"""Named places at which a chaos test can kill this process; otherwise they do nothing.

`QUICKSILVER_FAILPOINTS` names a folder. A file in it arms the place of that name: the first
process that gets there takes the file away and dies by SIGKILL, as in a power cut.
"""

import os
import signal
from pathlib import Path

VARIABLE = "QUICKSILVER_FAILPOINTS"

NAMES = (
    "after-commit-before-2xx",
    "after-seal-before-create",
    "after-create-before-mark",
    "between-pending-and-running",
    "before-begin",
    "between-load-and-dbt",
    "before-final-commit",
    "after-warehouse-commit-before-mark",
    "after-mark-before-end",
)
# Those of `quicksilver consume`, which is a process of its own.
OF_CONSUMERS = ("after-receive-before-commit", "after-commit-before-ack")


def reach(name: str) -> None:
    """Die here if a test has armed this place."""
    folder = os.environ.get(VARIABLE)
    if not folder:
        return
    try:
        # Removing the file decides: of two processes only one dies, and only once.
        (Path(folder) / name).unlink()
    except OSError:
        return
    os.kill(os.getpid(), signal.SIGKILL)
