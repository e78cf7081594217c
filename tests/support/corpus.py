"""Bad inputs, each with the answer it must get: never a 5xx, a crash or a blocked lane."""

from collections.abc import Iterator

from tests.support.bad_input import BadInput, asked, posted
from tests.support.corpus_bodies import bodies, meanings
from tests.support.corpus_keys import keys
from tests.support.corpus_wire import transport


def probes() -> Iterator[BadInput]:
    yield asked("HEAD", 200, "HEAD", "/events/minio")
    yield asked("GET", 200, "GET", "/events/minio")
    yield asked("HEAD without a token", 401, "HEAD", "/events/minio", Authorization="")
    yield asked("GET without a token", 401, "GET", "/events/minio", Authorization="")
    yield asked("OPTIONS", 405, "OPTIONS", "/events/minio")
    yield asked("PUT", 405, "PUT", "/events/minio")
    yield asked("DELETE", 405, "DELETE", "/events/minio")
    yield asked("PATCH", 405, "PATCH", "/events/minio")
    yield asked("TRACE", 405, "TRACE", "/events/minio")
    yield asked("GET of another path", 404, "GET", "/events/other")
    yield asked("POST to another path", 404, "POST", "/events/other")
    yield posted("empty POST", b"", "a probe: nothing to record")
    yield posted("blanks", b" \r\n\t ", "a probe: nothing to record")
    yield posted("{}", b"{}", "quarantined: not-an-event")
    yield posted("null", b"null", "quarantined: not-an-event")
    yield posted("true", b"true", "quarantined: not-an-event")
    yield posted("a number", b"0", "quarantined: not-an-event")
    yield posted("a string", b'"hello"', "quarantined: not-an-event")
    yield posted("[]", b"[]", "quarantined: not-an-event")
    test_event = {"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "datasets"}
    yield posted("s3:TestEvent", test_event, "nothing to record")
    yield posted("a form", b"a=1&b=2", "quarantined: not-json")
    yield posted("XML", b"<?xml version='1.0'?><a/>", "quarantined: not-json")


CORPUS: tuple[BadInput, ...] = (*probes(), *keys(), *bodies(), *transport(), *meanings())
