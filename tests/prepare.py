"""What the tests need beside the virtual environment: a browser, and the servers that they run.

`make test` runs this first. Each is looked for, else made; what cannot be had is said, with what
to do about it.
"""

import os
import shutil
import sys
from pathlib import Path

from quicksilver.stack.errors import ProgramBuildError
from quicksilver.stack.minio import MINIO
from quicksilver.stack.versity import VERSITY
from tests.support.debian import NotInstalledError, apt_install
from tests.support.nats_server import NATS

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def chromium() -> Path | None:
    """`CHROMIUM_BIN`, else a Chromium on the PATH; None when there is none.

    Raises:
        SystemExit: `CHROMIUM_BIN` names no program.
    """
    if named := os.environ.get("CHROMIUM_BIN"):
        found = shutil.which(named)
        if found is None:
            raise SystemExit(
                f"CHROMIUM_BIN is {named}, which is no program: correct it, or unset it"
            )
        return Path(found)
    return next((Path(found) for name in _NAMES if (found := shutil.which(name))), None)


def is_browser_wanted() -> bool:
    """Whether the browser's tests run; in CI they always do."""
    return os.environ.get("QUICKSILVER_SKIP_BROWSER") != "1" or bool(os.environ.get("CI"))


def install_chromium() -> None:
    """Debian's package, with the system's own package manager.

    Raises:
        SystemExit: it may not, or cannot, be installed; the message says what to do.
    """
    advice = (
        "install one (`apt-get install chromium`), point CHROMIUM_BIN at one, or set"
        " QUICKSILVER_SKIP_BROWSER=1 to leave the browser's tests out"
    )
    print("installing Chromium for the tests of the operators' pages …", flush=True)
    try:
        apt_install("chromium", "fonts-dejavu-core")
    except NotInstalledError as error:
        raise SystemExit(
            f"the operators' pages are tested in Chromium, which is not here: {advice}\n{error}"
        ) from error


def main() -> None:
    """Make sure of everything, quickly when it is there already."""
    if is_browser_wanted() and chromium() is None:
        install_chromium()
        if chromium() is None:
            raise SystemExit("Chromium was installed, but is not on the PATH: set CHROMIUM_BIN")
    try:
        for program in (MINIO, VERSITY, NATS):
            program.binary()
    except ProgramBuildError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
