"""A bad input: what is said, and what must come of it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.support.payloads import notification, record
from tests.support.serving import Answer, Client

HUNG_UP = 0

Say = Callable[[Client], Answer | None]


@dataclass(frozen=True)
class BadInput:
    """An input, and what must come of it.

    `statuses` are those allowed, `HUNG_UP` meaning that the service closed the connection without
    an answer. `text` is the answer's text; `key` the very key that the ledger must hold after.
    """

    name: str
    say: Say = field(repr=False)
    statuses: tuple[int, ...] = (200,)
    text: str | None = None
    key: str | None = None


def posted(name: str, payload: Any, text: str, *, key: str | None = None) -> BadInput:
    """A body that is authentic: always 2xx, with these words."""
    return BadInput(name, lambda client: client.post(payload), (200,), text, key)


def said(name: str, *statuses: int, parts: Callable[[Client], Iterator[bytes]]) -> BadInput:
    """Bytes on the wire."""
    return BadInput(name, lambda client: client.send(*parts(client)), statuses)


def asked(name: str, status: int, method: str, path: str, **headers: str) -> BadInput:
    """A request without a body."""
    return BadInput(name, lambda client: client.request(method, path, b"", **headers), (status,))


def event(title: str, text: str, /, **fields: Any) -> BadInput:
    """A well-formed event that is odd in its meaning."""
    return posted(title, notification(record(**fields)), text)
