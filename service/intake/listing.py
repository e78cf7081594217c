"""A listing decides what a sender leaves open: which of two keys is meant, and which etag.

A sender that may or may not encode its keys sends `a+b` and means `a b` or `a+b`. An object sent
without an etag would look to the next sweep like a missed one. Bronze is asked about both before
anything is recorded; without an answer the event stays as it is, and the sweep fixes it.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import structlog

from quicksilver.domain.datasets import Datasets
from quicksilver.domain.event import ObjectEvent
from quicksilver.domain.manifest import ListedObject
from quicksilver.domain.partition import CANARY_PREFIX, matches
from quicksilver.errors import BronzeUnavailableError, SettingsError
from quicksilver.lake.bronze import Bronze
from quicksilver.settings import Settings

_log = structlog.get_logger(__name__)

# A body may hold thousands of events; bronze is asked about a few at a time.
_AT_ONCE = 8

# Less than any sender waits for its answer, except Versity, which sends only once anyway.
_WITHIN = 2.0


async def settle_open_questions(
    events: Sequence[ObjectEvent], settings: Settings, datasets: Datasets, bronze: Bronze | None
) -> list[ObjectEvent]:
    """The events with their keys and etags as bronze has them, in order.

    Events that leave nothing open, which are nearly all, cost nothing.
    """
    chosen = [_chosen(event, settings.store, datasets) for event in events]
    places = [place for place, event in enumerate(chosen) if _is_open(event, datasets)]
    if bronze is None or not places:
        return chosen
    gate = asyncio.Semaphore(_AT_ONCE)

    async def look(place: int) -> None:
        async with gate:
            chosen[place] = await _listed(chosen[place], bronze)

    try:
        async with asyncio.timeout(_WITHIN):
            await asyncio.gather(*(look(place) for place in places))
    except (BronzeUnavailableError, SettingsError, TimeoutError) as error:
        _log.warning("bronze cannot say what a sender left open", error=repr(error))
    return chosen


def _chosen(event: ObjectEvent, store: str, datasets: Datasets) -> ObjectEvent:
    """The event as sender and datasets decide it: a spelling that fits no dataset is wrong."""
    if event.spelling is None:
        return event
    written = replace(event, key=event.spelling, spelling=None)
    decoded = replace(event, spelling=None)
    if not _is_declared(written, datasets):
        return decoded
    if store == "versity" or not _is_declared(decoded, datasets):
        return written
    return decoded if store == "aws" else event


def _is_declared(event: ObjectEvent, datasets: Datasets) -> bool:
    # A canary's key must come out as it was written, too.
    is_canary = event.key.startswith(CANARY_PREFIX)
    return is_canary or not isinstance(matches(datasets, event.bucket, event.key), str)


def _is_open(event: ObjectEvent, datasets: Datasets) -> bool:
    if event.ignored is not None or (event.spelling is None and event.etag is not None):
        return False
    # Last, because it tries every dataset's pattern; few events get here.
    return _is_declared(event, datasets)


async def _listed(event: ObjectEvent, bronze: Bronze) -> ObjectEvent:
    found = [
        listed
        for key in filter(None, (event.key, event.spelling))
        if (listed := await asyncio.to_thread(bronze.find, event.bucket, key)) is not None
    ]
    meant = [listed for listed in found if listed.etag == event.etag] or found
    return _as_listed(event, meant[0]) if meant else replace(event, spelling=None)


def _as_listed(event: ObjectEvent, found: ListedObject) -> ObjectEvent:
    return replace(
        event,
        key=found.key,
        spelling=None,
        etag=event.etag or found.etag,
        size=found.size if event.size is None else event.size,
    )
