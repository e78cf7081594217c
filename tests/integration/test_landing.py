"""One file into bronze: atomic, recognisable, on moto (an S3 of the user's own) and on MinIO."""

import hashlib
import itertools
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from moto.server import ThreadedMotoServer
from pydantic import SecretStr
from s3fs import S3FileSystem

from quicksilver.domain.datasets import Dataset
from quicksilver.errors import BronzeUnavailableError
from quicksilver.flows.nyc_tlc import landing
from quicksilver.flows.nyc_tlc.landing import BronzeTarget
from quicksilver.flows.nyc_tlc.source import Fetched, Origin
from quicksilver.settings import Settings, load_settings
from quicksilver.support import clock

MONTH = date(2019, 3, 1)
KEY = "bronze/nyc_tlc/yellow_tripdata/dt=2019-03-01/data.parquet"
MIB = 1 << 20

_buckets = itertools.count(1)


@dataclass
class Lake:
    """An S3, a bucket in it, and a client that is not the one under test."""

    settings: Settings
    bucket: str
    s3: Any

    def landing(self, **overrides: Any) -> BronzeTarget:
        dataset = Dataset(
            name="nyc_tlc.yellow_tripdata",
            bucket=overrides.get("bucket", self.bucket),
            key="bronze/nyc_tlc/yellow_tripdata/dt={dt}/{file}",
            deployment="silver-build/nyc-tlc",
        )
        return BronzeTarget(overrides.get("settings", self.settings), dataset, MONTH)

    def content(self) -> bytes:
        return self.s3.get_object(Bucket=self.bucket, Key=KEY)["Body"].read()

    def uploads(self) -> list[str]:
        listed = self.s3.list_multipart_uploads(Bucket=self.bucket, Prefix=KEY)
        return [upload["UploadId"] for upload in listed.get("Uploads", [])]


@pytest.fixture(scope="module")
def moto_url() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(params=["moto", "minio"])
def lake(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lake]:
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1")
    if request.param == "moto":
        url, key, secret = request.getfixturevalue("moto_url"), "someone", "something"
    else:
        server = request.getfixturevalue("minio_server")
        url, key, secret = server.endpoint_url, server.access_key, server.secret_key
    settings = load_settings(
        minio_endpoint_url=url, minio_access_key=key, minio_secret_key=SecretStr(secret)
    )
    s3 = boto3.client(
        "s3",
        endpoint_url=url,
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        region_name="us-east-1",
        config=Config(s3={"addressing_style": "path"}),
    )
    bucket = f"landing-{next(_buckets)}"
    s3.create_bucket(Bucket=bucket)
    yield Lake(settings, bucket, s3)
    clock.reset()
    s3.close()


def test_lands_one_object_that_says_what_it_is(lake: Lake, tmp_path: Path) -> None:
    fetched = _file(tmp_path, b"trips" * 1000, Origin("https://somewhere/x", '"v1"'))
    place = lake.landing()
    assert place.current() is None
    assert not place.same_content(None, fetched)
    place.land(fetched)
    held = place.current()
    assert held is not None
    assert (held.size, held.sha256, held.origin) == (5000, fetched.sha256, fetched.origin)
    assert place.same_content(held, fetched)
    assert lake.content() == b"trips" * 1000
    assert str(place) == f"s3://{lake.bucket}/{KEY}"


def test_other_content_of_the_same_size_is_not_the_same(lake: Lake, tmp_path: Path) -> None:
    place = lake.landing()
    place.land(_file(tmp_path, b"a" * 100))
    assert not place.same_content(place.current(), _file(tmp_path, b"b" * 100))


def test_a_large_file_is_one_object_too(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(landing, "CHUNK", 5 * MIB)
    fetched = _file(tmp_path, os.urandom(11 * MIB))
    place = lake.landing()
    place.land(fetched)
    assert hashlib.sha256(lake.content()).hexdigest() == fetched.sha256
    assert place.same_content(place.current(), fetched), "though its ETag is no MD5"
    assert "-" in lake.s3.head_object(Bucket=lake.bucket, Key=KEY)["ETag"]
    assert lake.uploads() == []


def test_an_upload_that_breaks_leaves_the_old_object_and_no_parts(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(landing, "CHUNK", 5 * MIB)
    place = lake.landing()
    place.land(_file(tmp_path, b"the old one"))
    call = S3FileSystem._call_s3  # pyright: ignore[reportPrivateUsage]

    async def break_third_part(self: S3FileSystem, method: str, *args: Any, **kwargs: Any) -> Any:
        if method == "upload_part" and kwargs["PartNumber"] == 3:
            raise OSError("the line went dead")
        return await call(self, method, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(S3FileSystem, "_call_s3", break_third_part)
        with pytest.raises(BronzeUnavailableError, match=r"could not write it.*went dead"):
            place.land(_file(tmp_path, os.urandom(16 * MIB)))
    assert lake.content() == b"the old one"
    assert lake.uploads() == []


def test_what_a_dead_process_left_is_aborted_after_a_day(lake: Lake, tmp_path: Path) -> None:
    upload = lake.s3.create_multipart_upload(Bucket=lake.bucket, Key=KEY)["UploadId"]
    lake.s3.upload_part(
        Bucket=lake.bucket, Key=KEY, UploadId=upload, PartNumber=1, Body=b"half of it"
    )
    began = lake.s3.list_multipart_uploads(Bucket=lake.bucket, Prefix=KEY)["Uploads"][0]
    if clock.now() - began["Initiated"] < timedelta(days=1):  # moto's all begin in 2010
        lake.landing().land(_file(tmp_path, b"first"))
        assert lake.uploads() == [upload], "it may be another ingest's, still at work"
    clock.advance(timedelta(days=1, minutes=1))
    lake.landing().land(_file(tmp_path, b"whole"))
    assert lake.uploads() == []
    assert lake.content() == b"whole"


def test_what_somebody_else_put_is_compared_by_its_bytes(lake: Lake, tmp_path: Path) -> None:
    lake.s3.put_object(Bucket=lake.bucket, Key=KEY, Body=b"a" * 1000)
    place = lake.landing()
    assert place.same_content(place.current(), _file(tmp_path, b"a" * 1000))
    assert not place.same_content(place.current(), _file(tmp_path, b"b" * 1000))


def test_without_a_bucket_it_says_what_to_do(lake: Lake, tmp_path: Path) -> None:
    with pytest.raises(BronzeUnavailableError, match=r"s3://nowhere-9/.*quicksilver init"):
        lake.landing(bucket="nowhere-9").land(_file(tmp_path, b"x"))


def test_nobody_answers(lake: Lake) -> None:
    nobody = lake.settings.model_copy(update={"minio_endpoint_url": "http://127.0.0.1:9"})
    with pytest.raises(BronzeUnavailableError, match=r"could not look at it at http://127.0.0.1:9"):
        lake.landing(settings=nobody).current()


def test_a_wrong_key_is_named_as_such(lake: Lake) -> None:
    if lake.settings.minio_access_key == "someone":
        return  # moto lets everybody in
    wrong = lake.settings.model_copy(update={"minio_secret_key": SecretStr("wrong-secret")})
    with pytest.raises(BronzeUnavailableError, match="MINIO_SECRET_KEY") as caught:
        lake.landing(settings=wrong).current()
    assert "wrong-secret" not in str(caught.value)


def _file(folder: Path, content: bytes, origin: Origin | None = None) -> Fetched:
    path = folder / "month.parquet"
    path.write_bytes(content)
    return Fetched(path, len(content), hashlib.sha256(content).hexdigest(), origin)
