"""The wheel in an empty environment, in an empty folder: all that a run needs comes with it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path

import pytest

from quicksilver.flows.nyc_tlc.generated import write_generated_year
from quicksilver.lake.bronze import minio_client
from quicksilver.settings import Settings
from quicksilver.support.http import local_http_client
from tests.support.checkout import PROJECT
from tests.support.servers import HOMES
from tests.support.waiting import until

YELLOW = "nyc_tlc.yellow_tripdata"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy: setuptools leaves its own files in the tree that it builds."""
    source = tmp_path_factory.mktemp("source")
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split("\0")
    for name in filter(None, listed):
        if name.startswith(("service/", "flows/", "analytics/")) or "/" not in name:
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(PROJECT / name, source / name, follow_symlinks=False)
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", ".", "--quiet", "--no-deps"]
    command += ["--no-build-isolation", "--wheel-dir", str(out)]
    subprocess.run(command, cwd=source, check=True, capture_output=True, timeout=300)
    (made,) = out.glob("*.whl")
    return made


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the commands of an environment that has the wheel, and libraries from here."""
    venv = tmp_path_factory.mktemp("venv")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)
    command = [sys.executable, "-m", "pip", "--python", str(venv / "bin" / "python"), "install"]
    command += ["--quiet", "--no-deps", "--no-index", str(wheel)]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    (packages,) = (venv / "lib").glob("python3*/site-packages")
    libraries = [sysconfig.get_path("purelib"), *(p for p in sys.path if "site-packages" in p)]
    (packages / "libraries.pth").write_text("\n".join(dict.fromkeys(libraries)) + "\n")
    return venv / "bin"


def environment() -> dict[str, str]:
    """A person's own, with nothing in it that names the checkout."""
    kept = ("PATH", "HOME", "LANG", "MINIO_BIN", "XDG_CACHE_HOME", "TMPDIR")
    return {name: os.environ[name] for name in kept if name in os.environ}


@pytest.fixture(scope="module")
def demo(installed: Path) -> Iterator[Path]:
    """`quicksilver new demo --example nyc-tlc`, outside the checkout."""
    place = HOMES / "wheel"
    place.mkdir(mode=0o711)
    done = run(installed, place, "new", "demo", "--example", "nyc-tlc")
    assert done.returncode == 0, done.stderr
    yield place / "demo"
    shutil.rmtree(place)


def run(commands: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A command as its user calls it there."""
    return subprocess.run(
        [commands / "quicksilver", *arguments],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def test_one_package_is_imported_and_everything_comes_with_it(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"quicksilver"}
    for needed in (
        "quicksilver/ledger/migrations/",
        "quicksilver/ledger/claims.sql",
        "quicksilver/web/pages/templates/base.html",
        "quicksilver/web/pages/static/page.css",
        "quicksilver/analytics/dbt_project.yml",
        "quicksilver/analytics/macros/typing.sql",
        "quicksilver/templates/nyc-tlc/datasets.yaml",
        "quicksilver/templates/common/env.example",
        "quicksilver/templates/plain-flow/flows/load_sales.py",
    ):
        assert any(name.startswith(needed) for name in names), needed


def test_the_version_is_the_wheels(installed: Path, tmp_path: Path, wheel: Path) -> None:
    done = run(installed, tmp_path, "--version")
    assert done.stdout.strip() == f"quicksilver {wheel.name.split('-')[1]}"


def test_a_project_is_made_once(installed: Path, demo: Path) -> None:
    assert {path.name for path in demo.iterdir()} >= {"datasets.yaml", ".env", "prefect.yaml"}
    assert (demo / ".env").stat().st_mode & 0o077 == 0
    again = run(installed, demo.parent, "new", "demo")
    assert again.returncode == 1
    assert "is a project already" in again.stderr


def test_a_partition_is_built(installed: Path, demo: Path) -> None:
    before = {path for path in installed.parent.rglob("*") if "__pycache__" not in path.parts}
    log = (HOMES / "wheel.out").open("w+")
    up = subprocess.Popen(
        [installed / "quicksilver", "up"],
        cwd=demo,
        env=environment(),
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        said = Path(log.name)
        until(
            lambda: "ready: http" in said.read_text() or up.poll() is not None,
            "the stack is ready",
            within=240,
        )
        assert up.poll() is None, said.read_text()
        below = demo / "deep" / "down"
        below.mkdir(parents=True)
        variables = exported(run(installed, below, "env").stdout)
        put_a_month(variables, demo)
        until(lambda: state(variables) == "built", "the partition is built", within=180)
    finally:
        up.send_signal(signal.SIGINT)
        up.wait(60)
        log.close()
    after = {path for path in installed.parent.rglob("*") if "__pycache__" not in path.parts}
    assert after == before, "nothing was written into the installed package"


def exported(lines: str) -> dict[str, str]:
    """What a shell would have after evaluating them."""
    shell = ["/bin/sh", "-euc", f"{lines}\nexec env -0"]
    done = subprocess.run(shell, env={}, capture_output=True, text=True, check=True)
    return dict(line.split("=", 1) for line in done.stdout.split("\0") if line)


def put_a_month(variables: Mapping[str, str], demo: Path) -> None:
    """A small month of TLC's layout, into bronze."""
    write_generated_year(demo / "months", 2019)
    settings = Settings(
        MINIO_ENDPOINT_URL=variables["MINIO_ENDPOINT_URL"],
        MINIO_ACCESS_KEY=variables["MINIO_ACCESS_KEY"],
        MINIO_SECRET_KEY=variables["MINIO_SECRET_KEY"],
    )  # pyright: ignore[reportCallIssue]
    (month,) = (demo / "months").glob("yellow*2019-05*")
    key = "bronze/nyc_tlc/yellow_tripdata/dt=2019-05-01/data.parquet"
    minio_client(settings).fput_object("datasets", key, str(month))


def state(variables: Mapping[str, str]) -> str:
    """The partition's, as the API says it."""
    answer = local_http_client().get(
        f"{variables['QUICKSILVER_URL']}/api/partitions/{YELLOW}/{date(2019, 5, 1)}",
        headers={"Authorization": f"Bearer {variables['QUICKSILVER_OPERATOR_TOKENS']}"},
    )
    found = answer.json() if answer.is_success else {}
    assert found.get("state") != "failed", json.dumps(found)
    return str(found.get("state"))
