"""What a check found: how bad it is, where, what, and what to do."""

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """The severity; a part that could not be checked is never silently well."""

    OK = "ok"
    ERROR = "error"
    WARNING = "warning"
    UNCHECKED = "not checked"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the check: `where` is `file:line`, or the part that was checked."""

    level: Level
    where: str
    what: str
    do: str = ""


def split_error(error: Exception) -> tuple[str, str]:
    """Split an error's text into `file:line` and the rest; without a place, "" and all of it."""
    text = " ".join(str(error).split())
    where, colon, rest = text.partition(": ")
    is_place = colon and where.rpartition(":")[2].isdigit()
    return (where, rest) if is_place else ("", text)
