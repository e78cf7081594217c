"""The shapes of senders other than MinIO, down to the partition that an event means."""

import json
from pathlib import Path
from typing import Any

import pytest

from quicksilver.domain.datasets import load_datasets
from quicksilver.errors import PayloadError
from quicksilver.intake.decode import decode
from quicksilver.support import clock
from tests.support.checkout import PROJECT
from tests.support.declared import arrive

KEY = "bronze/nyc_tlc/yellow_tripdata/dt=2024-01-01/data.parquet"
DATASETS = load_datasets(Path(PROJECT / "datasets.yaml"))


def eventbridge(kind: str = "Object Created", **thing: Any) -> dict[str, Any]:
    """What an API destination is sent, in the layout that AWS documents."""
    return {
        "version": "0",
        "id": "17793124-05d4-b198-2fde-7ededc63b103",
        "detail-type": kind,
        "source": "aws.s3",
        "account": "111122223333",
        "time": "2026-11-12T00:00:00Z",
        "region": "ca-central-1",
        "resources": ["arn:aws:s3:::datasets"],
        "detail": {
            "version": "0",
            "bucket": {"name": "datasets"},
            "object": {
                "key": KEY,
                "size": 5,
                "etag": "b1946ac92492d2347c6235b4d2611184",
                "version-id": "IYV3p45BT0ac8hjHg1houSdS1a.Mro8e",
                "sequencer": "00617F08299329D189",
                **thing,
            },
            "request-id": "N4N7GDK58NMKJ12R",
            "requester": "123456789012",
            "reason": "PutObject",
        },
    }


def record(**changes: Any) -> dict[str, Any]:
    thing = {"key": KEY.replace("=", "%3D"), "size": 5, "eTag": "e", "sequencer": "0061"}
    thing |= changes.pop("object", {})
    return {
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "eventTime": "2026-11-12T00:00:00.000Z",
        "eventName": "ObjectCreated:Put",
        "s3": {"bucket": {"name": "datasets"}, "object": thing},
        **changes,
    }


def encoded(tree: Any) -> bytes:
    return json.dumps(tree).encode()


def test_eventbridge() -> None:
    (event,) = decode(encoded(eventbridge())).events
    assert (event.name, event.bucket, event.key) == ("ObjectCreated:Put", "datasets", KEY)
    assert event.etag == "b1946ac92492d2347c6235b4d2611184"
    assert event.version_id == "IYV3p45BT0ac8hjHg1houSdS1a.Mro8e"
    assert (event.size, event.sequencer) == (5, "00617F08299329D189")
    arrival = arrive(event, DATASETS, "push", "test", clock.now())
    assert str(arrival.partition) == "nyc_tlc.yellow_tripdata/2024-01-01"
    assert arrival.ignored is None


def test_eventbridge_keys_are_not_form_encoded() -> None:
    (event,) = decode(encoded(eventbridge(key="a+b%3Dc d"))).events
    assert event.key == "a+b%3Dc d"


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("Object Deleted", "delete"),
        ("Object Tags Added", "tagging"),
        ("Object Restore Completed", "lifecycle"),
        ("Something New", "other-event"),
    ],
)
def test_eventbridge_tells_more_than_creations(kind: str, why: str) -> None:
    (event,) = decode(encoded(eventbridge(kind))).events
    assert event.ignored == why


def test_told_on_both_ways_it_is_one_event() -> None:
    (told,) = decode(encoded(eventbridge())).events
    thing = eventbridge()["detail"]["object"]
    same = {"eTag": thing["etag"], "versionId": thing["version-id"]}
    body = {"Records": [record(object={**same, "sequencer": thing["sequencer"]})]}
    (again,) = decode(encoded(body)).events
    both = [arrive(event, DATASETS, "push", "x", clock.now()) for event in (told, again)]
    assert both[0].identity == both[1].identity


def test_ceph_sends_keys_as_they_are() -> None:
    body = {"Records": [record(eventSource="ceph:s3", object={"key": "a+b=%41", "versionId": ""})]}
    (event,) = decode(encoded(body)).events
    assert (event.key, event.version_id) == ("a+b=%41", None)


def test_ceph_tells_of_objects_from_another_zone() -> None:
    body = {"Records": [record(eventSource="ceph:s3", eventName="ObjectSynced:Create")]}
    (event,) = decode(encoded(body)).events
    assert event.ignored is None


def test_plain_records_are_form_encoded() -> None:
    (event,) = decode(encoded({"Records": [record()]})).events
    assert event.key == KEY


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"detail": None}, "bad-record"),
        ({"detail": {"object": {}, "bucket": {}}}, "bad-bucket"),
        ({"detail": {"object": {"key": 7}, "bucket": {"name": "b"}}}, "bad-key"),
        ({"detail-type": 3}, "bad-event-name"),
    ],
)
def test_an_eventbridge_event_that_is_wrong_says_what(change: dict[str, Any], problem: str) -> None:
    notification = decode(encoded({**eventbridge(), **change}))
    assert notification.events == ()
    assert notification.problems == (problem,)


@pytest.mark.parametrize("body", [b'"detail-type"', b'["detail-type"]', b'{"detail-type": '])
def test_what_only_looks_like_eventbridge(body: bytes) -> None:
    with pytest.raises(PayloadError):
        decode(body)
