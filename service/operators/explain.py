"""Why an object did or did not fire: everything that happened to it, and a sentence."""

from typing import Any
from urllib.parse import quote_plus, unquote, unquote_plus

from quicksilver.domain.partition import Partition
from quicksilver.domain.reasons import meaning_of
from quicksilver.ledger import Ledger
from quicksilver.support.postgres import Row

MEANING = {
    "fired": "Its version was in the manifest of a build that Prefect was asked for.",
    "unchanged": "The same content was there already: nothing to build.",
    "settling": "Its partition waits to be ready, or to be dispatched.",
    "superseded": "A newer version of it landed before a build began, and was built instead.",
    "paused": "Its dataset is paused: `quicksilver resume` builds what accumulated.",
    "ignored": "It is no new content of a declared dataset.",
    "failed": "Its build failed, and the attempts are used up: see the partition's error.",
}


def _spellings(key: str) -> list[str]:
    """A key as it is, and as a notification may have written it or a person copied it from one."""
    return list(dict.fromkeys((key, unquote_plus(key), unquote(key), quote_plus(key, safe="/"))))


async def explain(ledger: Ledger, key: str) -> dict[str, Any]:
    """Everything that happened to one object, and a sentence that says why.

    `key` may come with `s3://bucket/` in front, and encoded as in a notification.
    """
    bare = key.removeprefix("s3://").partition("/")[2] if key.startswith("s3://") else key
    events: list[Row] = []
    for spelling in _spellings(bare):
        if events := await ledger.views.events(key=spelling, limit=50):
            bare = spelling
            break
    held = await ledger.quarantine.list(key=bare, limit=20) if bare else []
    builds: list[Row] = []
    if events and events[0]["dataset"]:
        partition = Partition(events[0]["dataset"], events[0]["partition"])
        builds = await ledger.views.builds(partition, limit=20)
    if held and not events:
        summary = f"{bare}: {held[0]['reason']}. {meaning_of(held[0]['reason'])}"
    elif not events:
        summary = (
            f"{bare}: no event ever came, and no sweep found it. Is it in the folder of a"
            " declared dataset? `quicksilver reconcile` looks again, `quicksilver doctor`"
            " checks the lanes"
        )
    else:
        reason = events[0]["reason"]
        meaning = MEANING.get(reason.partition(":")[0], "")
        if events[0]["outcome"]:
            meaning = f"Its build failed, and was {events[0]['outcome']}."
        summary = f"{bare}: {reason}. {meaning}"
    if held:
        ids = ", ".join(str(row["id"]) for row in held)
        summary += f" In quarantine, bodies name it: `quicksilver quarantine show` {ids}"
    return {
        "key": bare,
        "summary": summary,
        "events": events,
        "builds": builds,
        "quarantined": held,
    }
