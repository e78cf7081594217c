"""`make check`: are there known advisories against what the lock names?

    python -m tests.audit

Where the advisory data cannot be reached (behind a mirror, offline) it says so and is no failure:
one package is asked for first, and only then all of them.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

LOCK = Path(__file__).parent.parent / "requirements.lock"
# Ours only by way of dbt and others is still ours: nothing is ignored without a reason here.
IGNORED: dict[str, str] = {}


def audit(requirements: Path) -> subprocess.CompletedProcess[str]:
    """Run pip-audit on a file whose requirements are all pinned."""
    command = [sys.executable, "-m", "pip_audit", "--requirement", str(requirements)]
    command += ["--no-deps", "--disable-pip", "--progress-spinner", "off", "--timeout", "10"]
    for advisory in IGNORED:
        command += ["--ignore-vuln", advisory]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)


def main() -> int:
    """The process's exit code: 1 when an advisory is known."""
    with tempfile.TemporaryDirectory() as folder:
        first = Path(folder) / "one.txt"
        lines = LOCK.read_text(encoding="utf-8").splitlines()
        pin = next(line.split(" ")[0] for line in lines if line.startswith("idna=="))
        first.write_text(pin + "\n", encoding="utf-8")
        probe = audit(first)
    said = probe.stdout + probe.stderr
    if "could not be audited" in said or (probe.returncode and "vulnerabilit" not in said):
        print("audit: not done, the advisory data cannot be reached from here")
        return 0
    done = audit(LOCK)
    print(done.stdout + done.stderr, end="")
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
