"""The account that Postgres runs as: our own, or another one when we are root."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from quicksilver.stack.errors import StackError

_ACCOUNT = "quicksilver"


@dataclass(frozen=True, slots=True)
class Account:
    """An account that is not root, and whether it may enter the folders it needs by itself."""

    name: str
    enter_any_folder: bool


def _exists(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


def _may_use(name: str, folders: tuple[Path, ...]) -> bool:
    """Asked of the kernel, as that account: permissions, ACLs and mounts all count."""
    entry = pwd.getpwnam(name)
    test = shutil.which("test") or "/usr/bin/test"
    return all(
        subprocess.run(
            [test, "-r", folder, "-a", "-x", folder],
            user=entry.pw_uid,
            group=entry.pw_gid,
            extra_groups=[],
            cwd="/",
            check=False,
            stderr=subprocess.DEVNULL,
        ).returncode
        == 0
        for folder in folders
    )


def postgres_account(data: Path, binaries: Path) -> Account | None:
    """The account for Postgres, which refuses to run as root; `None` means our own.

    For root: a system account `quicksilver`, made if it is missing, or `nobody` where an account
    cannot be made. The account gets the folder `data`.

    Raises:
        StackError: when there is no account to use.
    """
    if os.geteuid() != 0:
        return None
    name = _ACCOUNT
    if not _exists(name) and (useradd := shutil.which("useradd")):
        subprocess.run(
            [useradd, "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", name],
            check=False,
            capture_output=True,
        )
    if not _exists(name):
        name = "nobody"
    if not _exists(name):
        raise StackError(
            "Postgres refuses to run as root, and neither the account 'quicksilver' nor 'nobody'"
            " exists: add one, or run the stack as an ordinary user"
        )
    entry = pwd.getpwnam(name)
    os.chown(data, entry.pw_uid, entry.pw_gid)
    return Account(name, enter_any_folder=not _may_use(name, (data, binaries)))
