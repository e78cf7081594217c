"""What a check found: how bad it is, where, what, and what to do."""

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How bad it is; a part that could not be looked at is never silently well."""

    OK = "ok"
    ERROR = "error"
    WARNING = "warning"
    UNCHECKED = "not checked"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the check: `where` is `file:line`, or the part that was looked at."""

    level: Level
    where: str
    what: str
    do: str = ""


def split_error(error: Exception) -> tuple[str, str]:
    """`file:line` and the rest, of an error that begins with both; else nothing and all of it."""
    text = " ".join(str(error).split())
    where, colon, rest = text.partition(": ")
    is_place = colon and where.rpartition(":")[2].isdigit()
    return (where, rest) if is_place else ("", text)
