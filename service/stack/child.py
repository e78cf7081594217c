"""Becomes another program that cannot outlive its parent: `python child.py spec.json`.

The supervisor starts every program through this file. It reads the program's specification
(command, environment, account), asks the kernel for a signal when the parent dies, and execs.
A file with mode 0600 carries the environment, so no secret shows up in a process list or in the
supervisor's configuration. It runs with `-IS`, so it imports the standard library alone.
"""

from __future__ import annotations

import ctypes
import json
import os
import pwd
import signal
import sys
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_PR_SET_KEEPCAPS = 8
_PR_CAPBSET_READ = 23
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_RAISE = 2
_CAPABILITY_VERSION_3 = 0x20080522
# Preferred first: reading and entering folders is all that is needed; containers often lack it.
_CAP_DAC_READ_SEARCH = 2
_CAP_DAC_OVERRIDE = 1


def _prctl(option: int, *arguments: int) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    padded = [ctypes.c_ulong(value) for value in (*arguments, 0, 0, 0, 0)[:4]]
    return libc.prctl(ctypes.c_int(option), *padded)


def _keep(capability: int) -> None:
    """Carry one capability over the exec that follows, in the ambient set.

    Raises:
        OSError: when the kernel refuses.
    """

    class Header(ctypes.Structure):
        _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))

    class Data(ctypes.Structure):
        _fields_ = tuple((n, ctypes.c_uint32) for n in ("effective", "permitted", "inheritable"))

    libc = ctypes.CDLL(None, use_errno=True)
    bit = 1 << capability
    sets = (Data * 2)(Data(bit, bit, bit), Data(0, 0, 0))
    if libc.capset(ctypes.byref(Header(_CAPABILITY_VERSION_3, 0)), ctypes.byref(sets)):
        raise OSError(ctypes.get_errno(), "the kernel refused the capability to enter folders")
    if _prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, capability):
        raise OSError(ctypes.get_errno(), "the kernel refused an ambient capability")


def become(account: str, *, enter_any_folder: bool) -> None:
    """Turn from root into `account`, without supplementary groups.

    With `enter_any_folder` (Linux alone) the account keeps one capability of root's, the one to
    read files and enter folders: that is how Postgres, which refuses to be root, works in a home
    below a folder like /root without changing that folder's permissions.

    Raises:
        OSError: when the kernel refuses.
        KeyError: when there is no such account.
    """
    entry = pwd.getpwnam(account)
    if enter_any_folder:
        _prctl(_PR_SET_KEEPCAPS, 1)
    os.setgroups([])
    os.setgid(entry.pw_gid)
    os.setuid(entry.pw_uid)
    if enter_any_folder:
        allowed = _prctl(_PR_CAPBSET_READ, _CAP_DAC_READ_SEARCH) == 1
        _keep(_CAP_DAC_READ_SEARCH if allowed else _CAP_DAC_OVERRIDE)


def main() -> None:
    """Read the specification named on the command line and become that program."""
    parent = os.getppid()
    spec = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    os.chdir(spec["cwd"])
    os.umask(0o077)  # logs and data are the stack's own business
    if spec["account"]:
        become(spec["account"], enter_any_folder=spec["enter_any_folder"])
    if sys.platform == "linux":
        # After the change of account, which clears it.
        _prctl(_PR_SET_PDEATHSIG, spec["death_signal"])
        if os.getppid() != parent:  # it died before we asked
            sys.exit(1)
    # The program must not inherit ignored signals (Python itself ignores the broken pipe's).
    for number in signal.valid_signals():
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    command = spec["command"]
    os.execvpe(command[0], command, spec["env"])  # noqa: S606 - no shell is the point


if __name__ == "__main__":
    main()
