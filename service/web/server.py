"""Limits on a connection before it is authenticated: bytes, seconds, number.

uvicorn bounds a request's head only with its slower parser (h11); with httptools a header may grow
without limit and a silent connection is never closed. This adds both limits to the fast parser.
"""

import asyncio
import ssl
from typing import TYPE_CHECKING, Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from quicksilver.errors import SettingsError
from quicksilver.settings import Settings

if TYPE_CHECKING:
    from fastapi import FastAPI

# Request line and headers together; browsers with many cookies stay below a quarter of it.
_HEAD_BYTES = 65_536

# Open connections, and requests under way: below the usual limit of 1,024 open files a process.
_CONNECTIONS = 800

# Longer than a Go client (MinIO) keeps an idle connection: if the server closed first while the
# client begins to send, an event of the fast lane would be lost.
_KEEP_ALIVE_SECONDS = 30


class HeadTooLargeError(Exception):
    """A request's head is over the limit; it was answered already."""


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's protocol on httptools, with limits on a request's head.

    A head over 64 KiB is answered 431, one that is not complete in time 408; both hang up.
    """

    def __init__(self, config: uvicorn.Config, *arguments: Any, **named: Any) -> None:
        super().__init__(config, *arguments, **named)
        settings: Settings = config.app.state.settings  # pyright: ignore[reportFunctionMemberAccess, reportAttributeAccessIssue, reportUnknownMemberType]
        self._head_seconds = settings.head_seconds
        self._is_in_head = True
        self._head = 0
        self._chunk = 0
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first head."""
        super().connection_made(transport)
        self._arm()

    def connection_lost(self, exc: Exception | None) -> None:
        """The other side is gone."""
        self._disarm()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Count what belongs to a head; parse."""
        if self._is_in_head and self._deadline is None:
            self._arm()
        self._chunk = len(data)
        super().data_received(data)
        if self._is_in_head:
            self._head += len(data)
            if self._head > _HEAD_BYTES:
                self._refuse_head()

    def on_headers_complete(self) -> None:
        """The head ends: what follows is the body, which the application bounds.

        Raises:
            HeadTooLargeError: it came in one piece and is too large; this stops the parser.
        """
        size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if size > _HEAD_BYTES:
            self._refuse_head()
            raise HeadTooLargeError
        self._is_in_head = False
        self._disarm()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The body ends: what follows is the next head."""
        super().on_message_complete()
        self._is_in_head = True
        # The chunk that ends a body is not counted as part of the next head.
        self._head = -self._chunk

    def _arm(self) -> None:
        self._deadline = self.loop.call_later(
            self._head_seconds, self._refuse, "408 Request Timeout", "the headers did not arrive"
        )

    def _disarm(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def send_400_response(self, msg: str) -> None:
        """Answer a request that is not HTTP, unless an answer was sent already."""
        if not self.transport.is_closing():
            super().send_400_response(msg)

    def _refuse_head(self) -> None:
        self._refuse("431 Request Header Fields Too Large", "the headers are over 64 KiB")

    def _refuse(self, status: str, text: str) -> None:
        self._disarm()
        if self.transport.is_closing():
            return
        # A second answer in the middle of another one would break it.
        if not self.cycle or self.cycle.response_complete:
            self.transport.write(
                f"HTTP/1.1 {status}\r\ncontent-type: text/plain\r\ncontent-length: {len(text)}\r\n"
                f"connection: close\r\n\r\n{text}".encode("ascii")
            )
        self.transport.close()


def certificates(settings: Settings) -> dict[str, Any]:
    """uvicorn's options for TLS; none when no certificate is configured.

    Raises:
        SettingsError: a file is missing or is not what it should be; one line that names it.
    """
    cert, key, authority = settings.tls_cert, settings.tls_key, settings.tls_client_ca
    if cert is None and key is None and authority is None:
        return {}
    settings.require("tls_cert", "tls_key")
    # Checked here: uvicorn would end in a traceback, or ask a terminal for a key's passphrase.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(str(cert), str(key), password="")
    except (OSError, ValueError) as error:
        raise SettingsError(
            f"QUICKSILVER_TLS_CERT, QUICKSILVER_TLS_KEY: {cert} and {key} are no certificate and"
            f" its key without a passphrase, both in PEM: {error}"
        ) from error
    options: dict[str, Any] = {"ssl_certfile": cert, "ssl_keyfile": key}
    if authority is None:
        return options
    try:
        context.load_verify_locations(str(authority))
    except (OSError, ValueError) as error:
        raise SettingsError(
            f"QUICKSILVER_TLS_CLIENT_CA: {authority} holds no certificates in PEM: {error}"
        ) from error
    return options | {"ssl_ca_certs": authority, "ssl_cert_reqs": ssl.CERT_REQUIRED}


def server_config(application: "FastAPI", settings: Settings) -> uvicorn.Config:
    """How the service listens.

    Raises:
        SettingsError: the certificates cannot be used.
    """
    return uvicorn.Config(
        application,
        host=settings.host,
        port=settings.port,
        http=BoundedProtocol,
        # No route speaks WebSocket: upgrades are ignored.
        ws="none",
        limit_concurrency=_CONNECTIONS,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        # A sender's open connection must not keep the service from stopping.
        timeout_graceful_shutdown=5,
        # The peer's own address counts: any client can forge a header, unless the peer is a
        # configured proxy.
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=list(settings.trusted_proxies),
        **certificates(settings),
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="off",
    )
