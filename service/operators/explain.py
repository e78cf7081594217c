"""Why an object did or did not fire: what happened to it, what it is, and what the store holds."""

import asyncio
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any
from urllib.parse import quote, quote_plus, unquote, unquote_plus

from quicksilver.domain.datasets import Datasets
from quicksilver.domain.location import split_location
from quicksilver.domain.manifest import ListedObject
from quicksilver.domain.partition import Partition
from quicksilver.domain.reasons import Reason, meaning_of
from quicksilver.errors import BronzeUnavailableError, SettingsError
from quicksilver.lake.bronze import Bronze
from quicksilver.ledger import Ledger
from quicksilver.operators.check.keys import KeyFinding, explain_key
from quicksilver.support.postgres import Row

_EVENTS = 50

# A person waits for the page, and the store's answer is only one fact among several.
_ANSWER_WITHIN = 4.0


def _spellings(key: str) -> list[str]:
    """A key as it is, and decoded in case it was copied from a notification."""
    forms = (key, unquote_plus(key), unquote(key), quote_plus(key, safe="/"), quote(key))
    return list(dict.fromkeys(forms))


async def explain(ledger: Ledger, bronze: Bronze | None, location: str) -> dict[str, Any]:
    """Everything that happened to one object, a sentence that says why, and `facts` beside it.

    `location` may come with `s3://bucket/` in front, which then counts, and encoded as in a
    notification. Without `bronze` the store is not asked.
    """
    bucket, asked = split_location(location)
    by_spelling: dict[str, list[Row]] = {}
    for spelling in _spellings(asked):
        found = await ledger.views.events(bucket=bucket, key=spelling, limit=_EVENTS)
        if found:
            by_spelling[spelling] = found
    key = next(iter(by_spelling), asked)
    events = by_spelling.pop(key, [])
    fits = explain_key(ledger.datasets, f"s3://{bucket}/{key}" if bucket else key)
    facts = _fitting(ledger.datasets, bucket, fits)
    if bronze is not None:
        facts += await _stored(bronze, _buckets(ledger.datasets, bucket, fits, events), key, events)
    if by_spelling:
        facts.append(
            f"Spelled otherwise, an object of its own has events too: {_list(by_spelling)}"
        )
    held = await ledger.quarantine.list(key=key, limit=20) if key else []
    builds: list[Row] = []
    if events and events[0]["dataset"]:
        partition = Partition(events[0]["dataset"], events[0]["partition"])
        # Rows of the data are only on the partition's page, for users with the right to see them.
        builds = [
            {**row, "failed_rows": None} for row in await ledger.views.builds(partition, limit=20)
        ]
    return {
        "key": key,
        "summary": _summary(key, bucket, events, held),
        "facts": facts,
        "fits": [asdict(finding) for finding in fits],
        "events": events,
        "builds": builds,
        "quarantined": held,
    }


def _summary(key: str, bucket: str | None, events: Sequence[Row], held: Sequence[Row]) -> str:
    if events:
        reason = events[0]["reason"]
        meaning = Reason.of(reason).meaning
        if events[0]["outcome"]:
            meaning = f"Its build failed, and was {events[0]['outcome']}."
        said = f"{key}: {reason}. {meaning}"
    elif held:
        said = f"{key}: {held[0]['reason']}. {meaning_of(held[0]['reason'])}"
    else:
        where = f" in bucket {bucket}" if bucket else ""
        said = (
            f"{key}: no event ever came{where}, and no sweep found it. `quicksilver reconcile`"
            " looks again, `quicksilver doctor` checks the lanes"
        )
    if held:
        ids = ", ".join(str(row["id"]) for row in held)
        said += f" In quarantine, bodies name it: `quicksilver quarantine show` {ids}"
    return said


def _fitting(datasets: Datasets, bucket: str | None, fits: Sequence[KeyFinding]) -> list[str]:
    """Which patterns the key fits; if none, why."""
    if not fits:
        declared = _list(sorted({d.bucket for d in datasets.datasets})) or "none"
        return [f"No dataset is declared for bucket {bucket}: declared are {declared}"]
    fitting = [finding for finding in fits if finding.partition]
    return [
        f"It fits {datasets.get(finding.dataset).key}: partition {finding.partition} of"
        f" {finding.dataset}"
        for finding in fitting
    ] or [f"It is not {finding.dataset}'s: {finding.why}" for finding in fits]


def _buckets(
    datasets: Datasets, bucket: str | None, fits: Sequence[KeyFinding], events: Sequence[Row]
) -> list[str]:
    """Where the object may lie: in the bucket that was named, else as events and datasets say."""
    if bucket:
        return [bucket]
    fitting = [datasets.get(finding.dataset).bucket for finding in fits if finding.partition]
    every = [dataset.bucket for dataset in datasets.datasets]
    return list(dict.fromkeys([*(row["bucket"] for row in events), *fitting] or every))


async def _stored(
    bronze: Bronze, buckets: Sequence[str], key: str, events: Sequence[Row]
) -> list[str]:
    """What the store says of the object now, bucket by bucket."""
    said: list[str] = []
    for bucket in buckets:
        try:
            async with asyncio.timeout(_ANSWER_WITHIN):
                found = await asyncio.to_thread(bronze.find, bucket, key)
        except (BronzeUnavailableError, SettingsError, TimeoutError) as error:
            why = str(error) or f"no answer in {_ANSWER_WITHIN:g} s"
            said.append(f"The store could not be asked: {why}")
            continue
        told = next((row for row in events if row["bucket"] == bucket and row["etag"]), None)
        said.append(_compared(bucket, key, found, told))
    return said


def _compared(bucket: str, key: str, found: ListedObject | None, told: Row | None) -> str:
    if found is None:
        return f"The store does not hold s3://{bucket}/{key} now"
    held = (
        f"The store holds s3://{bucket}/{key}: {found.size:,} bytes, etag {found.etag}, written"
        f" {found.last_modified:%Y-%m-%d %H:%M:%S} UTC"
    )
    if told is None:
        return held
    if told["etag"] == found.etag:
        return f"{held}; that is the version of its newest event"
    return f"{held}; its newest event told of another one, etag {told['etag']}"


def _list(names: Sequence[str] | dict[str, Any]) -> str:
    return ", ".join(names)
