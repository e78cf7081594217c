"""When a dirty partition may be built. Pure."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from quicksilver.domain.datasets import ReadinessRule


@dataclass(frozen=True, slots=True)
class FolderState:
    """What a partition's folder holds, as far as readiness asks."""

    files: int
    has_marker: bool
    changed_at: datetime
    dirty_since: datetime


@dataclass(frozen=True, slots=True)
class Readiness:
    """Ready from `due_at` on; or waiting, with the reason, for more files."""

    due_at: datetime | None
    reason: str | None


def readiness(rule: ReadinessRule, folder: FolderState, now: datetime) -> Readiness:
    """When a dirty partition may be built: every rule given must hold, `max_wait` ends the wait.

    `due_at` None means: not before something more lands.
    """
    missing: list[str] = []
    if rule.marker is not None and not folder.has_marker:
        missing.append(f"no {rule.marker} yet")
    least = rule.min_files or 1
    if folder.files < least:
        missing.append(f"{folder.files} of {least} files")
    due = folder.changed_at + rule.quiet if rule.quiet else now
    if due > now:
        missing.append(f"quiet for {_seconds(rule.quiet)} not reached")
    reason = ", ".join(missing) or None
    clock_alone = due if len(missing) == (1 if due > now else 0) else None
    if rule.max_wait is not None:
        limit = folder.dirty_since + rule.max_wait
        if clock_alone is None or limit < clock_alone:
            clock_alone = limit
    if clock_alone is not None and clock_alone <= now:
        return Readiness(now, None)
    return Readiness(clock_alone, reason)


def _seconds(span: timedelta | None) -> str:
    return f"{span.total_seconds():g} s" if span else "0 s"


def needs_folder(rule: ReadinessRule) -> bool:
    """Whether readiness depends on more than this one event."""
    return rule.marker is not None or rule.min_files is not None or rule.quiet is not None
