"""Faults on the wire: HTTP that is slow, cut or too large, and bytes that are not HTTP."""

import gzip
import json
import time
from collections.abc import Callable, Iterator

from tests.support.bad_input import BadInput, Say, said
from tests.support.payloads import PREFIX, notification, record
from tests.support.serving import Answer, Client, receive


def _trickled(client: Client) -> Answer | None:
    """A body of which a byte comes now and then, past the service's patience."""
    with client.connect() as connection:
        connection.sendall(client.head(Content_Length="1000"))
        try:
            for _ in range(100):
                connection.sendall(b" ")
                time.sleep(0.03)
        except OSError:
            pass
        return receive(connection)


def _hung_up(bytes_sent: int) -> Say:
    def say(client: Client) -> None:
        body = json.dumps(notification(record(f"{PREFIX}2024-05-01/cut.parquet"))).encode()
        with client.connect() as connection:
            connection.sendall(client.head(Content_Length=str(len(body))) + body[:bytes_sent])

    return say


def transport() -> Iterator[BadInput]:
    bomb = gzip.compress(b"0" * 50_000_000)
    yield BadInput(
        "a gzip bomb",
        lambda client: client.request("POST", "/events/minio", bomb, Content_Encoding="gzip"),
        (200,),
        "quarantined: not-json",
    )
    yield BadInput(
        "chunked, no length, over the limit",
        lambda client: client.request("POST", "/events/minio", iter([b"x" * 65536] * 17)),
        (413,),
    )
    yield BadInput(
        "chunked, a byte a chunk",
        lambda client: client.request("POST", "/events/minio", iter([b"x"] * 2000)),
        (200,),
        "quarantined: not-json",
    )
    yield BadInput("a slow body", _trickled, (408,))
    for cut in (0, 1, 100):
        yield BadInput(f"hung up after {cut} bytes of the body", _hung_up(cut), ())

    def with_head(**headers: str) -> Callable[[Client], Iterator[bytes]]:
        return lambda client: iter([client.head(**headers), b"{}"])

    length = {"Content_Length": "2"}
    yield said("no length and no chunks", 200, 400, parts=with_head())
    yield said("a length too long", 408, parts=with_head(Content_Length="100"))
    yield said("a length too short", 200, 400, parts=with_head(Content_Length="1"))
    yield said("a negative length", 400, parts=with_head(Content_Length="-1"))
    yield said("a length that is no number", 400, parts=with_head(Content_Length="two"))
    yield said("a length of 30 digits", 400, 413, parts=with_head(Content_Length="9" * 30))
    yield said("a length over the limit", 413, parts=with_head(Content_Length=str(2**40)))
    yield said(
        "length and chunks both", 400, parts=with_head(Transfer_Encoding="chunked", **length)
    )
    yield said(
        "an unknown transfer coding", 400, 501, parts=with_head(Transfer_Encoding="gzip", **length)
    )
    yield said("no Host", 200, parts=with_head(Host="", **length))
    yield said("a strange Host", 200, parts=with_head(Host="evil.example:99999", **length))
    yield said("a Host that is a script", 200, parts=with_head(Host="<script>", **length))
    yield said("a Host of 10,000 letters", 200, parts=with_head(Host="h" * 10_000, **length))
    yield said("Expect", 200, 100, parts=with_head(Expect="100-continue", **length))
    yield said("an unknown Expect", 200, 417, parts=with_head(Expect="a miracle", **length))
    yield said(
        "an upgrade to WebSocket",
        200,
        parts=with_head(Connection="Upgrade", Upgrade="websocket", Sec_WebSocket_Key="x", **length),
    )
    yield said(
        "an upgrade to HTTP/2", 200, parts=with_head(Connection="Upgrade", Upgrade="h2c", **length)
    )
    yield said("another content type", 200, parts=with_head(Content_Type="image/png", **length))
    yield said(
        "a charset of nobody", 200, parts=with_head(Content_Type="a/b; charset=\xff", **length)
    )
    yield said("forwarded for another", 200, parts=with_head(X_Forwarded_For="1.2.3.4", **length))
    yield said(
        "a token that is not ASCII", 401, parts=with_head(Authorization="Bearer \xe9\xff", **length)
    )
    yield said(
        "a token of 60,000 letters", 401, parts=with_head(Authorization="B" * 60_000, **length)
    )
    yield said("headers of 100,000 bytes", 431, parts=with_head(X_Long="x" * 100_000))
    many = {f"X_{number}": "y" for number in range(10_000)}
    yield said("10,000 headers", 431, parts=with_head(**many))

    def raw(name: str, data: bytes, *statuses: int) -> BadInput:
        return said(name, *statuses, parts=lambda client: iter([data]))

    def lines(name: str, line: bytes, *statuses: int) -> BadInput:
        """A request with another request line."""
        return said(
            name,
            *statuses,
            parts=lambda c: iter([line + c.head(**length).split(b"\r\n", 1)[1], b"{}"]),
        )

    yield raw("garbage", b"\x00\x01\x02\x03" * 100 + b"\r\n\r\n", 400)
    yield raw("a TLS greeting", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"a" * 200, 400)
    yield raw("HTTP/2 at once", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400)
    yield raw("an SSH greeting", b"SSH-2.0-OpenSSH_9.6\r\n", 400)
    yield raw("HTTP/0.9", b"GET /events/minio\r\n\r\n", 400, 401)
    yield lines("HTTP/9.9", b"POST /events/minio HTTP/9.9\r\n", 400)
    yield lines("an unknown method", b"BREW /events/minio HTTP/1.1\r\n", 400, 405)
    yield lines("CONNECT", b"CONNECT example.com:443 HTTP/1.1\r\n", 400, 404, 405)
    yield lines("the URL whole", b"POST http://other/events/minio HTTP/1.1\r\n", 200)
    yield lines("a star for a path", b"OPTIONS * HTTP/1.1\r\n", 400, 404, 405)
    yield lines("two slashes", b"POST //events/minio HTTP/1.1\r\n", 400, 404)
    yield lines("a climb in the path", b"POST /api/../events/minio HTTP/1.1\r\n", 404)
    yield lines("NUL in the path", b"POST /events/minio%00 HTTP/1.1\r\n", 404)
    yield lines("no UTF-8 in the path", b"POST /events/%ff%fe HTTP/1.1\r\n", 404)
    yield lines("bytes in the path", b"POST /events/\xff HTTP/1.1\r\n", 400)
    yield lines(
        "a lane of nobody", b"POST /events/minio?lane=%00%ff'<x>&lane=fast HTTP/1.1\r\n", 200
    )
    yield lines("a path of 50,000", b"POST /" + b"p" * 50_000 + b" HTTP/1.1\r\n", 404)
    yield lines("a path of 100,000", b"POST /" + b"p" * 100_000 + b" HTTP/1.1\r\n", 431)

    def headed(name: str, extra: bytes, *statuses: int) -> BadInput:
        """A request with one more header line."""
        return said(
            name,
            *statuses,
            parts=lambda c: iter([c.head(**length)[:-2] + extra + b"\r\n\r\n", b"{}"]),
        )

    yield headed("two Hosts", b"Host: other", 200, 400)
    yield headed("two lengths", b"Content-Length: 5", 400)
    yield headed("a folded header", b"X-Folded: a\r\n b", 200, 400)
    yield headed("a header without a name", b": empty", 400)
    yield headed("a header without a colon", b"nothing", 400)
    yield headed("a header with a NUL", b"X-Nul: a\0b", 400)
    yield headed("a bare carriage return", b"X-Bare: a\rX-Evil: b", 400)

    def chunks(name: str, data: bytes, *statuses: int) -> BadInput:
        return said(
            name, *statuses, parts=lambda c: iter([c.head(Transfer_Encoding="chunked"), data])
        )

    yield chunks("a chunk size that is no number", b"zz\r\n{}\r\n0\r\n\r\n", 400)
    yield chunks("a chunk size that overflows", b"f" * 20 + b"\r\n{}\r\n0\r\n\r\n", 400)
    yield chunks("a negative chunk size", b"-2\r\n{}\r\n0\r\n\r\n", 400)
    yield chunks("a chunk longer than it says", b"1\r\n{}\r\n0\r\n\r\n", 400)
    yield chunks("a chunk extension", b"2;a=b\r\n{}\r\n0\r\n\r\n", 200)
    yield chunks("trailers", b"2\r\n{}\r\n0\r\nX-Trailer: a\r\n\r\n", 200)
    yield chunks("chunks that never end", b"2\r\n{}\r\n", 408)
