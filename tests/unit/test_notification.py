"""Payloads: what a sender encodes comes back; anything else is a `PayloadError`, never worse."""

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from urllib.parse import quote, quote_plus

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from quicksilver.domain.arrival import Arrival
from quicksilver.domain.event import ObjectEvent
from quicksilver.errors import PayloadError
from quicksilver.intake.decode import decode
from quicksilver.intake.notification import Notification
from tests.support.payloads import KEY, notification, record

# What Postgres and S3 can both hold: no NUL, no lone surrogates, at most 1,024 bytes.
texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1)
keys = texts.filter(lambda key: len(key.encode()) <= 1024)
small = texts.filter(lambda text: len(text.encode()) <= 200 and text.strip('"'))
json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


def quote_all(key: str) -> str:
    """No character is spared, not even a slash."""
    return quote(key, safe="")


def only_known_outcomes(body: bytes) -> None:
    """Decoding ends in a notification or a `PayloadError` of a known word."""
    word = ""
    events: tuple[ObjectEvent, ...] = ()
    try:
        events = decode(body).events
    except PayloadError as error:
        word = str(error)
    assert word in {"", "not-json", "not-an-event"}
    for event in events:
        assert event.key
        assert "\0" not in event.key + event.bucket + event.name
        # What the ledger does with it next must not fail either.
        arrival = Arrival(event, None, event.ignored, "push", "test", datetime.now(UTC))
        assert len(arrival.identity) == 32
        orjson.dumps({"key": event.key, "etag": event.etag, "at": event.event_at})


@given(
    key=keys,
    bucket=small,
    etag=small,
    version=st.none() | small,
    size=st.none() | st.integers(0, 2**63 - 1),
    sequencer=st.none() | small,
    at=st.none() | st.datetimes(timezones=st.timezones() | st.just(UTC)),
    encode=st.sampled_from([quote_plus, quote, quote_all]),
)
def test_roundtrip_of_an_event(
    key: str,
    bucket: str,
    etag: str,
    version: str | None,
    size: int | None,
    sequencer: str | None,
    at: datetime | None,
    encode: Any,
) -> None:
    body = orjson.dumps(
        notification(
            record(
                encode(key),
                bucket=bucket,
                etag=etag,
                version=version,
                size=size,
                sequencer=sequencer,
                at=at.isoformat() if at else None,
            )
        )
    )
    found = decode(body)
    assert found.problems == ()
    (event,) = found.events
    assert event.key == key
    assert (event.bucket, event.version_id, event.sequencer) == (bucket, version, sequencer)
    assert event.size == size
    assert event.etag == etag.strip('"')
    if at is not None and event.event_at is not None:
        # Seconds in an offset (local mean time) are cut by isoformat's readers, minutes are not.
        assert abs(event.event_at - at) < timedelta(minutes=1)


@given(body=st.binary())
@example(b"\xef\xbb\xbf{}")
@example(b'{"Records":[{"s3":{"object":{"key":"\\ud800"}}}]}')
def test_fuzz_any_bytes(body: bytes) -> None:
    only_known_outcomes(body)


@given(tree=json_values)
def test_fuzz_any_json(tree: Any) -> None:
    only_known_outcomes(json.dumps(tree).encode())


@given(records=json_values, extra=json_values)
def test_fuzz_anything_for_records(records: Any, extra: Any) -> None:
    only_known_outcomes(json.dumps({"Records": records, "Event": extra}).encode())


@given(
    path=st.sampled_from(
        [
            ("eventName",),
            ("eventTime",),
            ("eventSource",),
            ("s3",),
            ("s3", "bucket"),
            ("s3", "bucket", "name"),
            ("s3", "object"),
            ("s3", "object", "key"),
            ("s3", "object", "eTag"),
            ("s3", "object", "size"),
            ("s3", "object", "versionId"),
            ("s3", "object", "sequencer"),
        ]
    ),
    value=json_values,
)
def test_fuzz_any_value_in_any_field(path: tuple[str, ...], value: Any) -> None:
    broken = record(KEY)
    node = broken
    for step in path[:-1]:
        node = node[step]
    node[path[-1]] = value
    body = json.dumps(notification(broken, record(KEY))).encode()
    only_known_outcomes(body)
    try:
        found = decode(body)
    except PayloadError:
        # A lone surrogate makes the whole body no JSON.
        return
    assert found.events[-1].key == KEY, "a bad record hid its neighbour"


@given(kind=json_values, detail=json_values, thing=json_values, key=st.text(), reason=json_values)
def test_fuzz_anything_from_eventbridge(
    kind: Any, detail: Any, thing: Any, key: str, reason: Any
) -> None:
    only_known_outcomes(json.dumps({"detail-type": kind, "detail": detail}).encode())
    body = {
        "detail-type": "Object Created",
        "detail": {
            "bucket": {"name": "b"},
            "object": {"key": key, "etag": thing},
            "reason": reason,
        },
    }
    only_known_outcomes(json.dumps(body).encode())


@given(encoded=st.text(alphabet="%+aZ09fF/.= é", min_size=1))
def test_fuzz_any_percent_encoding(encoded: str) -> None:
    only_known_outcomes(json.dumps(notification(record(encoded))).encode())


@pytest.mark.parametrize(
    ("encoded", "key"),
    [
        ("a+b", "a b"),
        ("a%20b", "a b"),
        ("a%2Bb", "a+b"),
        ("a%252Fb", "a%2Fb"),
        ("a%zzb", "a%zzb"),
        ("caf%C3%A9", "café"),
        ("cafe%CC%81", "cafe\u0301"),
        ("%F0%9F%9A%95", "🚕"),
    ],
)
def test_a_key_is_decoded_once(encoded: str, key: str) -> None:
    assert decode(orjson.dumps(notification(record(encoded)))).events[0].key == key


def test_the_longest_key_of_s3_fits_though_encoded_it_is_three_times_as_long() -> None:
    key = "🚕" * 256
    assert decode(orjson.dumps(notification(record(quote_plus(key))))).events[0].key == key


@pytest.mark.parametrize("encoded", ["a%00b", "%FF", "%ED%A0%80", "a\0b", "", "x" * 2001])
def test_a_key_that_no_ledger_can_hold_is_a_problem(encoded: str) -> None:
    assert decode(orjson.dumps(notification(record(encoded)))) == Notification((), ("bad-key",))


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("s3:ObjectCreated:Put", None),
        ("ObjectCreated:Copy", None),
        ("s3:ObjectCreated:CompleteMultipartUpload", None),
        ("s3:ObjectCreated:PutTagging", "tagging"),
        ("s3:ObjectCreated:DeleteTagging", "tagging"),
        ("s3:ObjectCreated:PutRetention", "retention"),
        ("s3:ObjectCreated:PutLegalHold", "legal-hold"),
        ("s3:ObjectRemoved:Delete", "delete"),
        ("s3:ObjectRemoved:DeleteMarkerCreated", "delete"),
        ("s3:ObjectAccessed:Get", "read"),
        ("s3:Replication:OperationCompletedReplication", "replication"),
        ("s3:ObjectTagging:Put", "tagging"),
        ("s3:LifecycleExpiration:Delete", "lifecycle"),
        ("s3:Scanner:ManyVersions", "scanner"),
        ("s3:Unheard:Of", "other-event"),
    ],
)
def test_only_creation_means_new_content(name: str, why: str | None) -> None:
    event = ObjectEvent(name.removeprefix("s3:"), "b", "k", None, None, None, None, None)
    assert event.ignored == why


@pytest.mark.parametrize("tree", [{"Event": "s3:TestEvent"}, {"Records": []}])
def test_a_probe_decodes_to_nothing(tree: dict[str, Any]) -> None:
    assert decode(orjson.dumps(tree)) == Notification(())


@pytest.mark.parametrize(
    "time", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "yesterday", 7, {}, ""]
)
def test_a_time_that_cannot_be_read_loses_no_event(time: Any) -> None:
    (event,) = decode(orjson.dumps(notification(record(KEY, at=time)))).events
    assert event.event_at is None


def test_a_time_without_a_zone_is_utc_and_others_are_brought_to_it() -> None:
    for given_time in ("2024-01-01T12:00:00", "2024-01-01T14:00:00+02:00"):
        (event,) = decode(orjson.dumps(notification(record(KEY, at=given_time)))).events
        assert event.event_at == datetime(2024, 1, 1, 12, tzinfo=timezone.utc)  # noqa: UP017
