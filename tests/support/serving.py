"""The real receiver on a free port, and a client that says exactly the bytes a test wants."""

import asyncio
import http.client
import json
import socket
import threading
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import psycopg
import uvicorn
from fastapi import FastAPI
from psycopg.rows import dict_row

from quicksilver.app import create_app, running
from quicksilver.settings import Settings, load_settings
from quicksilver.stack.ports import choose_port
from quicksilver.web.server import server_config
from tests.support.waiting import until

FAST_TOKEN = "fast-token-of-the-tests"
DURABLE_TOKEN = "durable-token-of-the-tests"
OPERATOR_TOKEN = "operator-token-of-the-tests"

_START_WITHIN = 60.0


@dataclass(frozen=True)
class Answer:
    """What came back; `headers` by lower-case name."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        """The body as text, without the closing newline."""
        return self.body.decode("utf-8", "replace").strip()

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


def receive(connection: socket.socket, method: str = "POST") -> Answer:
    """Read one answer off a connection.

    Raises:
        http.client.HTTPException, OSError: the other side hung up without one.
    """
    response = http.client.HTTPResponse(connection, method=method)
    response.begin()
    headers = {name.lower(): value for name, value in response.getheaders()}
    return Answer(response.status, headers, response.read())


@dataclass(frozen=True)
class Client:
    """Speaks to a service on a port of this machine, each time on a connection of its own."""

    port: int
    token: str = FAST_TOKEN
    source: str = "127.0.0.1"

    def connect(self, seconds: float = 60) -> socket.socket:
        """An open connection, for bytes of the test's own."""
        return socket.create_connection(
            ("127.0.0.1", self.port), timeout=seconds, source_address=(self.source, 0)
        )

    def head(self, method: str = "POST", path: str = "/events/minio", **headers: str) -> bytes:
        """A request's head with the token, up to the empty line."""
        fields = {"Host": "service", "Authorization": f"Bearer {self.token}", **headers}
        lines = [f"{method} {path} HTTP/1.1"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in fields.items() if value]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")

    def send(self, *parts: bytes) -> Answer:
        """Say these bytes; the answer, which may come before they are all said."""
        with self.connect() as connection:
            try:
                for part in parts:
                    connection.sendall(part)
            except OSError:
                pass
            return receive(connection, parts[0].split(b" ")[0].decode("latin-1"))

    def request(
        self, method: str, path: str, body: bytes | Iterable[bytes] = b"", **headers: str
    ) -> Answer:
        """A whole request; a body that is not bytes goes in chunks."""
        if not isinstance(body, bytes):
            head = self.head(method, path, Transfer_Encoding="chunked", **headers)
            chunks = (b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in body)
            return self.send(head, *chunks, b"0\r\n\r\n")
        length = {"Content_Length": str(len(body))} if body or method != "GET" else {}
        return self.send(self.head(method, path, **length, **headers), body)

    def post(self, payload: Any, *, lane: str = "") -> Answer:
        """Send a notification, or any bytes in its place."""
        body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        return self.request("POST", "/events/minio" + (f"?lane={lane}" if lane else ""), body)

    def operate(self, method: str, path: str) -> Answer:
        """Ask as an operator."""
        client = Client(self.port, OPERATOR_TOKEN, self.source)
        return client.request(method, path)


@dataclass(frozen=True)
class Served:
    """A receiver that runs in a thread of this process, over a real ledger."""

    app: FastAPI
    client: Client
    database_url: str

    def rows(self, statement: str, *arguments: object) -> list[dict[str, Any]]:
        """What the ledger holds, asked on a connection of the test's own."""
        return rows(self.database_url, statement, *arguments)


def rows(url: str, statement: str, *arguments: object) -> list[dict[str, Any]]:
    """The rows of a statement."""
    with psycopg.connect(url, autocommit=True, row_factory=cast("Any", dict_row)) as connection:
        found = connection.execute(cast("Any", statement), arguments or None).fetchall()
    return cast("list[dict[str, Any]]", found)


def receiver_settings(database_url: str, **overrides: Any) -> Settings:
    """Settings of a service that only receives: its Prefect and its MinIO are nowhere."""
    values: dict[str, Any] = {
        "database_url": database_url,
        "host": "127.0.0.1",
        "port": choose_port(None),
        "roles": "receiver",
        "webhook_tokens": f"{FAST_TOKEN},{DURABLE_TOKEN}",
        "operator_tokens": OPERATOR_TOKEN,
        "prefect_api_url": "http://127.0.0.1:9/api",
        "minio_endpoint_url": "http://127.0.0.1:9",
        "minio_access_key": "nobody",
        "minio_secret_key": "nothing",
        **overrides,
    }
    return load_settings(**values)


@contextmanager
def serving(database_url: str, *, asked_at: str = "", **overrides: Any) -> Generator[Served]:
    """The service over a ledger; `asked_at` is where tests read it, if not the same way."""
    settings = receiver_settings(database_url, **overrides)
    app = create_app(settings)
    server = uvicorn.Server(server_config(app, settings))
    problems: list[BaseException] = []

    async def serve() -> None:
        async with running(app):
            await server.serve()

    def run() -> None:
        try:
            asyncio.run(serve())
        except BaseException as error:
            problems.append(error)

    thread = threading.Thread(target=run, name="receiver")
    thread.start()
    try:
        until(lambda: server.started or problems, "the receiver starts", within=_START_WITHIN)
        if problems:
            raise problems[0]
        yield Served(app, Client(settings.port), asked_at or database_url)
    finally:
        server.should_exit = True
        thread.join(30)
    assert not thread.is_alive(), "the receiver does not stop"
    assert not problems, problems
