"""docs/own-dataset.md, word for word: its blocks are the newcomer's files."""

import re
import shutil
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest
import typer
from minio.datatypes import Object

from quicksilver.build import dbt_project
from quicksilver.build.prepare import ensure_warehouse
from quicksilver.cli.main import app
from quicksilver.domain.datasets import load_datasets
from quicksilver.domain.manifest import ManifestFile
from quicksilver.lake.bronze import minio_client
from tests.support.checkout import PROJECT
from tests.support.declared import folder
from tests.support.partition_stage import PartitionStage, make_stage
from tests.support.servers import MinioServer

MAY = date(2024, 5, 1)
PAGE = PROJECT / "docs" / "own-dataset.md"
_BLOCK = re.compile(r"^( *)```(\w+)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
# The first line of a block that is a file names it.
_FILE = re.compile(r"(?:#|--) ([\w./]+\.(?:yaml|yml|sql|py))(, at its end)?$")


def blocks() -> list[tuple[str, str]]:
    """Language and text of each block of the page, without its indentation."""
    return [
        (kind, re.sub(rf"^{indent}", "", text, flags=re.MULTILINE))
        for indent, kind, text in _BLOCK.findall(PAGE.read_text(encoding="utf-8"))
    ]


def files(of: list[tuple[str, str]]) -> dict[str, str]:
    named = [(_FILE.match(text.split("\n", 1)[0]), text) for _, text in of]
    return {match[1]: text for match, text in named if match}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of the project with the newcomer's files in it."""
    shutil.copytree(
        PROJECT / "analytics",
        tmp_path / "analytics",
        ignore=shutil.ignore_patterns("target", "logs"),
    )
    shutil.copy(PROJECT / "datasets.yaml", tmp_path)
    for name, text in files(blocks()).items():
        with (tmp_path / name).open("a", encoding="utf-8") as file:
            file.write(text)
    monkeypatch.setenv("QUICKSILVER_PROJECT", str(tmp_path))
    monkeypatch.setenv("QUICKSILVER_HOME", str(tmp_path / "home"))
    _forget()
    yield tmp_path
    monkeypatch.undo()
    _forget()


def _forget() -> None:
    for cached in (dbt_project.seeds_version, dbt_project._version, dbt_project._parsed):  # pyright: ignore[reportPrivateUsage]
        cached.cache_clear()


def _manifest_file(found: Object) -> ManifestFile:
    assert found.object_name is not None, "a listing names each object"
    assert found.etag is not None, "and its version"
    assert found.size is not None, "and its size"
    return ManifestFile(found.object_name, found.etag, None, found.size)


@pytest.fixture
def stage(warehouse_url: str, minio_server: MinioServer) -> PartitionStage:
    return make_stage(warehouse_url, minio_server)


async def test_a_newcomer_adds_a_dataset(
    project: Path, stage: PartitionStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = files(blocks())
    assert sorted(written) == [
        "analytics/models/silver/orders.sql",
        "analytics/models/silver/orders.yml",
        "analytics/models/silver/orders_rejected.sql",
        "analytics/models/staging/orders.yml",
        "analytics/models/staging/stg_orders.sql",
        "datasets.yaml",
        "land_orders.py",
    ]
    datasets = load_datasets(project / "datasets.yaml")
    await ensure_warehouse(stage.settings, datasets)
    assert stage.rows("select count(*) from silver.orders") == [(0,)]

    # The lake of `make up` has a bucket of that name; this one is shared with other tests.
    lake = minio_client(stage.settings)
    monkeypatch.setenv("MINIO_ENDPOINT_URL", stage.settings.minio_endpoint_url)
    monkeypatch.setenv("MINIO_ACCESS_KEY", stage.settings.minio_access_key)
    monkeypatch.setenv("MINIO_SECRET_KEY", stage.settings.minio_secret_key.get_secret_value())
    script = written["land_orders.py"]
    assert '"datasets/bronze/' in script
    exec(script.replace('"datasets/bronze/', f'"{stage.dataset.bucket}/bronze/'), {})
    declared = datasets.get("shop.orders")
    stage.dataset = declared.model_copy(update={"bucket": stage.dataset.bucket})
    listed = list(lake.list_objects(stage.dataset.bucket, folder(stage.dataset, MAY)))
    manifest = [_manifest_file(found) for found in listed]
    result = await stage.build(MAY, *manifest)

    assert (result.rows_bronze, result.rows_silver, result.rows_rejected) == (3, 2, 1)
    assert result.rejected_by_reason == {"negative_amount": 1}
    assert result.new_columns == ["channel"]
    tests = {node.name.split("_orders_")[0] for node in result.dbt if node.kind == "test"}
    assert tests == {"unique_in_partition", "nothing_is_lost"}
    query = next(text for kind, text in blocks() if kind == "sql" and "--" not in text)
    shown = next(text for kind, text in blocks() if kind == "text")
    assert [[str(value) for value in row] for row in stage.rows(query)] == [
        [value.strip() for value in line.split("|")] for line in shown.strip().splitlines()
    ]


def test_the_commands_of_the_page_exist() -> None:
    known = set(typer.main.get_command(app).commands)  # pyright: ignore[reportAttributeAccessIssue]
    named = set(re.findall(r"quicksilver (\w+)", PAGE.read_text(encoding="utf-8")))
    assert {"env", "status", "init", "backfill"} <= named <= known
