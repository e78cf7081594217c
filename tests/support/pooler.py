"""A connection pooler in transaction mode before a real Postgres, as PgBouncer's is.

Each client is let in by the server itself, over a connection that is the pool's from then on. What
it says after that goes to whichever of the pool's sessions is free, from the first message of a
transaction to its end.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from psycopg.conninfo import conninfo_to_dict

from quicksilver.stack.ports import LOOPBACK

_READY = b"Z"
_TERMINATE = b"X"
_IDLE = b"I"
# What a client asks before it identifies itself: TLS, or GSSAPI's encryption.
_ENCRYPT = {(80877103).to_bytes(4, "big"), (80877104).to_bytes(4, "big")}


@dataclass(slots=True)
class _Session:
    """A connection to the server, past its greeting."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter


@dataclass(slots=True)
class Pooler:
    """Accepts clients on `port`; its sessions, the one that was used last first."""

    host: str
    server_port: int
    port: int = 0
    free: list[_Session] = field(default_factory=list[_Session])

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One client, until it leaves."""
        own = _Session(*await asyncio.open_connection(self.host, self.server_port))
        try:
            await _greet(reader, writer, own)
            self.free.append(own)
            while True:
                kind, message = await _read(reader)
                if kind == _TERMINATE:
                    return
                session = self.free.pop()
                try:
                    await _transaction(reader, writer, session, message)
                finally:
                    self.free.append(session)
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()


async def _greet(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, session: _Session
) -> None:
    """Pass on how a client logs in, until the server says that it is ready."""
    while True:
        length = await reader.readexactly(4)
        startup = length + await reader.readexactly(int.from_bytes(length, "big") - 4)
        if startup[4:] not in _ENCRYPT:
            break
        writer.write(b"N")
    session.writer.write(startup)
    while True:
        kind, message = await _read(session.reader)
        writer.write(message)
        if kind == _READY:
            return
        # Any message except "authenticated" is a challenge that the client must answer.
        if kind == b"R" and message[5:9] not in (bytes(4), (12).to_bytes(4, "big")):
            session.writer.write((await _read(reader))[1])


async def _transaction(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, session: _Session, message: bytes
) -> None:
    """Pass on messages and answers until the session is idle again."""
    session.writer.write(message)
    upwards = asyncio.create_task(_pass_on(reader, session.writer))
    try:
        while True:
            kind, answer = await _read(session.reader)
            writer.write(answer)
            if kind == _READY and answer[5:6] == _IDLE:
                return
    finally:
        upwards.cancel()
        with suppress(asyncio.CancelledError):
            await upwards


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write((await _read(reader))[1])


async def _read(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """A message's kind, and all of it."""
    head = await reader.readexactly(5)
    return head[:1], head + await reader.readexactly(int.from_bytes(head[1:], "big") - 4)


@asynccontextmanager
async def pooling(url: str) -> AsyncGenerator[str]:
    """The URL of a pooler before the server of a URL."""
    told = conninfo_to_dict(url)
    pooler = Pooler(str(told["host"]), int(str(told["port"])))
    server = await asyncio.start_server(pooler.serve, LOOPBACK, 0)
    pooler.port = server.sockets[0].getsockname()[1]
    try:
        parts = urlsplit(url)
        user = parts.netloc.rpartition("@")[0]
        yield parts._replace(netloc=f"{user}@{LOOPBACK}:{pooler.port}").geturl()
    finally:
        server.close()
        for session in pooler.free:
            session.writer.close()
