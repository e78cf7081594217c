"""A sender's decoded body."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from quicksilver.domain.event import ObjectEvent
from quicksilver.errors import PayloadError
from quicksilver.intake.fields import mapping


@dataclass(frozen=True, slots=True)
class Notification:
    """A decoded body: the records understood, and why others were not.

    `reply` is what the sender waits for as a proof that its address is ours, as JSON.
    """

    events: tuple[ObjectEvent, ...] = ()
    problems: tuple[str, ...] = ()
    reply: bytes | None = None


def each_of(
    records: Sequence[Any], understand: Callable[[dict[str, Any]], ObjectEvent]
) -> Notification:
    """Each record parsed by itself: a wrong one does not hide the others."""
    events: list[ObjectEvent] = []
    problems: list[str] = []
    for record in records:
        try:
            events.append(understand(mapping(record, "bad-record")))
        except PayloadError as error:
            problems.append(str(error))
    return Notification(tuple(events), tuple(problems))
