"""What a sender's body says, once it was decoded."""

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
    """Every record understood by itself: one that is wrong does not hide its neighbours."""
    events: list[ObjectEvent] = []
    problems: list[str] = []
    for record in records:
        try:
            events.append(understand(mapping(record, "bad-record")))
        except PayloadError as error:
            problems.append(str(error))
    return Notification(tuple(events), tuple(problems))
