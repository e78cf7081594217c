"""Debian's packages that some tests need, installed with the system's own package manager."""

import os
import shutil
import subprocess

_MINUTES = 10


class NotInstalledError(Exception):
    """A package may not, or cannot, be installed; the message says why."""


def apt_install(*packages: str) -> None:
    """Install packages, with no more than they need.

    Raises:
        NotInstalledError: there is no apt-get, we are not root, or it failed.
    """
    apt = shutil.which("apt-get")
    if apt is None or os.geteuid() != 0:
        raise NotInstalledError(f"`apt-get install {' '.join(packages)}` needs Debian and root")
    for arguments in (
        ["update", "-q"],
        ["install", "-y", "-q", "--no-install-recommends", *packages],
    ):
        done = subprocess.run(
            [apt, *arguments],
            env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_MINUTES * 60,
            check=False,
        )
        if done.returncode:
            lines = (done.stdout + done.stderr).strip().splitlines()[-5:]
            raise NotInstalledError(f"apt-get {arguments[0]} failed:\n" + "\n".join(lines))
