"""Bodies that are not JSON or not events, and events with an odd meaning."""

import gzip
import json
from collections.abc import Iterator
from typing import Any

from tests.support.bad_input import BadInput, event, posted
from tests.support.payloads import PREFIX, notification, record


def _with(path: str, value: Any) -> dict[str, Any]:
    broken = record()
    node = broken
    *steps, last = path.split(".")
    for step in steps:
        node = node[step]
    node[last] = value
    return notification(broken)


def bodies() -> Iterator[BadInput]:
    good = json.dumps(notification(record(f"{PREFIX}2024-04-01/json.parquet"))).encode()
    for name, body in {
        "100,000 lists deep": b"[" * 100_000 + b"]" * 100_000,
        "100,000 objects deep": b'{"Records":' * 50_000 + b"1" + b"}" * 50_000,
        "100,000 deep and cut": b"[" * 100_000,
        "NaN": b'{"Records": NaN}',
        "Infinity": b'{"Records": [-Infinity]}',
        "a byte order mark": b"\xef\xbb\xbf" + good,
        "UTF-16": good.decode().encode("utf-16"),
        "Latin-1": good.replace(b"json.parquet", b"caf\xe9.parquet"),
        "a cut": good[: len(good) // 2],
        "a missing bracket": good[:-1],
        "an integer of 5,000 digits": good.replace(b'"size": 1000', b'"size": ' + b"9" * 5000),
        "rubbish behind": good + b"}",
        "two documents": good + good,
        "comments": b"/* hello */" + good,
        "single quotes": b"{'Records': []}",
        "a trailing comma": b'{"Records": [],}',
        "a NUL": good + b"\0",
        "a NUL in a string": b'{"Records": "\0"}',
        "NULs": b"\0" * 1000,
        "gzip": gzip.compress(good),
        "a megabyte of blanks and a letter": b" " * 1_000_000 + b"x",
    }.items():
        yield posted(f"JSON: {name}", body, "quarantined: not-json")
    for name, body in {
        "Records is null": b'{"Records": null}',
        "Records is a string": b'{"Records": "many"}',
        "Records is an object": b'{"Records": {"0": {}}}',
        "no Records": b'{"EventName": "s3:ObjectCreated:Put", "Key": "a/b"}',
        "records in small letters": b'{"records": []}',
        "the last of two Records is none": good[:-1] + b', "Records": null}',
    }.items():
        yield posted(f"JSON: {name}", body, "quarantined: not-an-event")
    yield posted("JSON: Records 0", notification(), "nothing to record")
    for name, records in {
        "a null": [None],
        "a number": [1],
        "a list": [[]],
        "an empty object": [{}],
        "s3 null": [{"s3": None}],
        "100,000 empty ones": [{}] * 100_000,
    }.items():
        yield posted(f"JSON: record is {name}", notification(*records), "quarantined: bad-record")
    many = [
        {
            "eventName": "ObjectCreated:Put",
            "s3": {"bucket": {"name": "b"}, "object": {"key": f"{n}"}},
        }
        for n in range(100_000)
    ]
    thousands = json.dumps({"Records": many[:9_000]}, separators=(",", ":")).encode()
    yield posted("JSON: 9,000 records", thousands, "ignored:unknown-bucket")
    yield BadInput("JSON: 100,000 records", lambda client: client.post({"Records": many}), (413,))
    same = notification(*[record(f"{PREFIX}2024-04-02/same.parquet")] * 500)
    yield posted("JSON: one event 500 times in a body", same, "duplicate, settling")
    doubled = good.replace(b'"eventName"', b'"eventName": "s3:ObjectRemoved:Delete", "eventName"')
    yield posted("JSON: duplicate keys, the last counts", doubled, "settling")
    for name, path, value, why in [
        ("a huge integer for size", "s3.object.size", 2**64, "bad-size"),
        ("a negative size", "s3.object.size", -1, "bad-size"),
        ("a size in words", "s3.object.size", "a thousand", "bad-size"),
        ("a size that is true", "s3.object.size", True, "bad-size"),
        ("a fraction for size", "s3.object.size", 1.5, "bad-size"),
        ("an etag that is a list", "s3.object.eTag", [], "bad-etag"),
        ("an etag of 2,001 bytes", "s3.object.eTag", "e" * 2001, "bad-etag"),
        ("an etag with a NUL", "s3.object.eTag", "a\0", "bad-etag"),
        ("a version that is a number", "s3.object.versionId", 7, "bad-version"),
        ("a sequencer that is an object", "s3.object.sequencer", {}, "bad-sequencer"),
        ("an event name that is null", "eventName", None, "bad-event-name"),
        ("an empty event name", "eventName", "", "bad-event-name"),
        ("an event name of a megabyte", "eventName", "n" * 900_000, "bad-event-name"),
        ("a bucket that is a string", "s3.bucket", "datasets", "bad-bucket"),
        ("a bucket without a name", "s3.bucket", {}, "bad-bucket"),
        ("an object that is a list", "s3.object", [], "bad-object"),
    ]:
        body = _with(path, value)
        yield posted(f"JSON: {name}", body, f"quarantined: {why}")


def meanings() -> Iterator[BadInput]:
    def key(number: int) -> str:
        return f"{PREFIX}2024-06-{number:02}/data.parquet"

    yield event("delete", "ignored:delete", key=key(1), name="s3:ObjectRemoved:Delete")
    yield event(
        "a delete marker", "ignored:delete", key=key(1), name="s3:ObjectRemoved:DeleteMarkerCreated"
    )
    yield event("ILM expiry", "ignored:lifecycle", key=key(1), name="s3:LifecycleExpiration:Delete")
    yield event(
        "ILM transition", "ignored:lifecycle", key=key(1), name="s3:ObjectTransition:Complete"
    )
    yield event(
        "replication",
        "ignored:replication",
        key=key(1),
        name="s3:Replication:OperationCompletedReplication",
    )
    yield event("tagging", "ignored:tagging", key=key(1), name="s3:ObjectCreated:PutTagging")
    yield event("a read", "ignored:read", key=key(1), name="s3:ObjectAccessed:Get")
    yield event("a scanner's finding", "ignored:scanner", key=key(1), name="s3:Scanner:BigPrefix")
    yield event("an event of nobody", "ignored:other-event", key=key(1), name="s3:Unheard:Of")
    yield event("an event without its family", "ignored:other-event", key=key(1), name="Put")
    yield event("an unknown bucket", "ignored:unknown-bucket", key=key(1), bucket="nobody-s")
    yield event("a bucket of 2,000", "ignored:unknown-bucket", key=key(1), bucket="b" * 2000)
    yield event(
        "multipart",
        "settling",
        key=key(2),
        name="s3:ObjectCreated:CompleteMultipartUpload",
        etag="m-3",
    )
    yield event("a copy", "settling", key=key(3), name="s3:ObjectCreated:Copy")
    yield event("zero bytes", "settling", key=key(4), size=0)
    yield event("the greatest size", "settling", key=key(5), size=2**63 - 1)
    yield event("no version", "settling", key=key(6), version=None)
    yield event("the version null", "settling", key=key(7), version="null")
    yield event(
        "no etag, no size, no sequencer",
        "settling",
        key=key(8),
        etag=None,
        size=None,
        sequencer=None,
    )
    yield event("a quoted etag", "settling", key=key(9), etag='"quoted"')
    yield event("a year late", "settling", key=key(10), at="2023-02-01T00:00:00Z")
    yield event("a year early", "settling", key=key(11), at="2099-02-01T00:00:00Z")
    yield event("at the first moment", "settling", key=key(12), at="0001-01-01T00:00:00Z")
    yield event("at the last moment", "settling", key=key(13), at="9999-12-31T23:59:59.999999Z")
    yield event("at no moment", "settling", key=key(14), at="soon")
    yield event("without a time", "settling", key=key(15), at=None)
    yield event("the sequencer of tomorrow", "settling", key=key(16), sequencer="FFFFFFFFFFFFFFFF")
    yield event("the sequencer of yesterday", "settling", key=key(16), sequencer="00", etag="old")
    yield event(
        "tagging with an old sequencer",
        "ignored:tagging",
        key=key(16),
        name="s3:ObjectCreated:PutTagging",
        sequencer="01",
    )
    yield event("the same content once more", "unchanged", key=key(16), sequencer="02", etag="old")
    yield event("the same event once more", "duplicate", key=key(16), sequencer="00", etag="old")
    yield event("another sender's source", "settling", key=key(17), version="v-1")
    yield event("a partition of the first year", "settling", key=f"{PREFIX}0001-01-01/data.parquet")
    yield event("a partition of the last day", "settling", key=f"{PREFIX}9999-12-31/data.parquet")
