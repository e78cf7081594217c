"""A load generator in a process of its own: MinIO's notifications over kept connections.

`python -m bench.load --port N --token T --seconds 5 [--rate EVENTS_PER_SECOND]`. Without a rate
every connection sends its next event when the last one was answered. With one, events are sent on
a schedule, and an answer's time counts from the moment its event was due: one that had to wait for
a free connection waited. Prints one JSON line.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections import deque

import uvloop

from bench.report import percentile

_BODY = (
    b'{"EventName":"s3:ObjectCreated:Put","Key":"datasets/%(key)b","Records":[{"eventVersion":"2.0",'
    b'"eventSource":"minio:s3","awsRegion":"","eventTime":"2026-01-01T00:00:00.000Z",'
    b'"eventName":"s3:ObjectCreated:Put","userIdentity":{"principalId":"quicksilver"},'
    b'"requestParameters":{"principalId":"quicksilver","region":"","sourceIPAddress":"127.0.0.1"},'
    b'"responseElements":{"x-amz-id-2":"dd9025bab4ad464b049177c95eb6ebf374d3b3fd1af9251148b658df7a",'
    b'"x-amz-request-id":"1800000000000000","x-minio-origin-endpoint":"http://127.0.0.1:9000"},'
    b'"s3":{"s3SchemaVersion":"1.0","configurationId":"Config","bucket":{"name":"datasets",'
    b'"ownerIdentity":{"principalId":"quicksilver"},"arn":"arn:aws:s3:::datasets"},"object":{'
    b'"key":"%(key)b","size":214000,"eTag":"%(tag)032x","contentType":"application/octet-stream",'
    b'"userMetadata":{"content-type":"application/octet-stream"},"sequencer":"%(tag)016X"}},'
    b'"source":{"host":"127.0.0.1","port":"","userAgent":"MinIO (linux; amd64) minio-go"}}]}'
)
_KEY = b"bronze%%2Fnyc_tlc%%2Fyellow_tripdata%%2Fdt%%3D%04d-%02d-%02d%%2Fdata.parquet"


class Load:
    """Everything that is sent and answered in one go."""

    def __init__(self, token: str, seconds: float, rate: float, seed: int) -> None:
        self._head = (
            b"POST /events/minio?lane=fast HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type:"
            b" application/json\r\nUser-Agent: MinIO\r\nAuthorization: Bearer %b\r\n"
            b"Content-Length: %%d\r\n\r\n" % token.encode()
        )
        self._seconds, self._rate, self._seed = seconds, rate, seed
        self._number = 0
        self.free: deque[Connection] = deque()
        self.due: deque[float] = deque()
        self.times: list[float] = []
        self.errors = 0
        self.until = 0.0

    def request(self) -> bytes:
        """The next event: a new version of one of a thousand partitions."""
        self._number += 1
        day = self._number % 1_000
        key = _KEY % (1900 + day // 336, day // 28 % 12 + 1, day % 28 + 1)
        body = _BODY % {b"key": key, b"tag": (self._seed << 40) + self._number}
        return self._head % len(body) + body

    def answered(self, connection: Connection, began: float, *, is_good: bool) -> None:
        """Note an answer; go on with this connection."""
        now = time.perf_counter()
        if is_good:
            self.times.append(now - began)
        else:
            self.errors += 1
        if now >= self.until:
            connection.transport.close()
        elif not self._rate:
            connection.send(now)
        elif self.due:
            connection.send(self.due.popleft())
        else:
            self.free.append(connection)

    async def run(self, port: int, connections: int) -> dict[str, float]:
        """Send for as long as asked; what came of it."""
        loop = asyncio.get_running_loop()
        open_ones = [
            (await loop.create_connection(lambda: Connection(self), "127.0.0.1", port))[1]
            for _ in range(connections)
        ]
        began = time.perf_counter()
        self.until = began + self._seconds
        if not self._rate:
            for connection in open_ones:
                connection.send(began)
            await asyncio.sleep(self._seconds)
        else:
            self.free.extend(open_ones)
            await self._keep_time(began)
        await asyncio.sleep(0.5)  # the answers that are under way
        taken = min(time.perf_counter() - began, self._seconds)
        for connection in open_ones:
            connection.transport.close()
        return {
            "per_second": len(self.times) / taken,
            "p50_ms": percentile(self.times, 50) * 1000 if self.times else 0.0,
            "p99_ms": percentile(self.times, 99) * 1000 if self.times else 0.0,
            "errors": self.errors,
            "unsent": len(self.due),
            "answered": len(self.times),
        }

    async def _keep_time(self, began: float) -> None:
        sent = 0
        while (now := time.perf_counter()) < self.until:
            due = int((now - began) * self._rate)
            for number in range(sent, due):
                moment = began + number / self._rate
                if self.free:
                    self.free.popleft().send(moment)
                else:
                    self.due.append(moment)
            sent = due
            await asyncio.sleep(0.001)


class Connection(asyncio.Protocol):
    """One kept connection, one event under way at a time."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._buffer = b""
        self._began = 0.0
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self.transport = transport  # pyright: ignore[reportAttributeAccessIssue]

    def send(self, began: float) -> None:
        """Send the next event, which was due at `began`."""
        self._began = began
        self.transport.write(self._load.request())

    def data_received(self, data: bytes) -> None:
        """Look for the end of an answer."""
        self._buffer += data
        head, found, rest = self._buffer.partition(b"\r\n\r\n")
        if not found:
            return
        at = head.lower().index(b"content-length:")
        length = int(head[at + 15 :].split(b"\r\n", 1)[0])
        if len(rest) < length:
            return
        self._buffer = b""
        self._load.answered(self, self._began, is_good=head[9:12] == b"200" and rest[:1] != b"q")


def main() -> None:
    """Read the command line, send, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--token", required=True)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rate", type=float, default=0.0)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    load = Load(options.token, options.seconds, options.rate, options.seed)
    print(json.dumps(uvloop.run(load.run(options.port, options.connections))))


if __name__ == "__main__":
    main()
