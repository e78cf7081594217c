"""Keys of the corpus through a real MinIO: its webhook, both lanes, the row in the ledger."""

import io
from pathlib import Path
from urllib.parse import urlsplit

from minio import Minio
from minio.error import S3Error

from quicksilver.domain.datasets import load_datasets
from quicksilver.lake.rules import configure_lanes
from tests.support.corpus_keys import FILES
from tests.support.servers import MinioServer
from tests.support.serving import Served, serving
from tests.support.waiting import until

BUCKET = "hostile-keys"
PREFIX = "bronze/odd/dt="
DATASETS = f"""\
datasets:
  odd:
    bucket: {BUCKET}
    key: {PREFIX}{{dt}}/{{file}}
    files: "*"
    deployment: silver-build/odd
"""

# Besides the corpus: what MinIO takes as a path of its own.
OTHERS = {
    "a folder below": "2024-01-01/sub/data.parquet",
    "a date that never was": "2023-02-29/data.parquet",
    "another marker": "2024-01-01/_SUCCESS",
    "a trailing blank": "2024-01-01/data ",
    "a long name": "2024-01-01/" + "n" * 240,
    "many levels": "2024-01-01/" + "/".join(["level"] * 100),
}


def wanted_keys() -> list[str]:
    """Every key to try, whether MinIO takes it or not."""
    own = [f"2024-03-{1 + n % 28:02}/{file}" for n, file in enumerate(FILES.values())]
    return [PREFIX + tail for tail in [*own, *OTHERS.values()]]


def put_all(client: Minio) -> list[str]:
    """Put an object under every key; the keys that MinIO took. What it refuses is the client's
    mistake in its eyes, never an error of its own."""
    taken: list[str] = []
    refused: list[int] = []
    for number, key in enumerate(wanted_keys()):
        content = b"%d" % number
        try:
            client.put_object(BUCKET, key, io.BytesIO(content), len(content))
        except S3Error as error:
            refused.append(error.response.status)
        except ValueError:
            continue
        else:
            taken.append(key)
    assert [status for status in refused if status >= 500] == []
    return taken


def told(served: Served) -> dict[str, dict[str, object]]:
    rows = served.rows("select * from quicksilver.event where bucket = %s", BUCKET)
    return {row["key"]: row for row in rows}


def test_hostile_keys_come_through_both_lanes(
    minio_server: MinioServer, ledger_url: str, tmp_path: Path
) -> None:
    declared = tmp_path / "datasets.yaml"
    declared.write_text(DATASETS)
    receiver = urlsplit(minio_server.receiver_url)
    with serving(
        ledger_url,
        port=receiver.port,
        url=minio_server.receiver_url,
        datasets_file=str(declared),
        webhook_tokens=f"{minio_server.fast_token},{minio_server.durable_token}",
        minio_endpoint_url=minio_server.endpoint_url,
        minio_access_key=minio_server.access_key,
        minio_secret_key=minio_server.secret_key,
    ) as served:
        configure_lanes(
            served.app.state.settings,
            load_datasets(declared),
            print,
            receiver_url=minio_server.receiver_url,
        )
        client = Minio(
            urlsplit(minio_server.endpoint_url).netloc,
            minio_server.access_key,
            minio_server.secret_key,
            secure=False,
        )
        taken = put_all(client)
        assert len(taken) >= 25, "MinIO refuses nearly everything: the test proves nothing"
        last = f"{PREFIX}2024-12-31/last.parquet"
        client.put_object(BUCKET, last, io.BytesIO(b"last"), 4)
        keys = {*taken, last}
        until(
            lambda: sum(bool(row["durable_at"]) for row in told(served).values()) >= len(keys),
            "the durable lane brings every key",
            within=120,
        )
        events = told(served)
        # Not one key too many, too few or spelled otherwise.
        assert set(events) == keys
        assert {str(row["reason"]).partition(":")[0] for row in events.values()} <= {
            "settling",
            "ignored",
        }
        for key in taken:
            if key.removeprefix(PREFIX).split("/", 1)[1] in FILES.values():
                assert events[key]["reason"] == "settling", key
        assert served.rows("select 1 from quicksilver.quarantine") == []
        queue = minio_server.stack.home.folder / "minio-queue"
        until(
            lambda: not [path for path in queue.rglob("*") if path.is_file()],
            "the durable lane's queue is empty",
        )
