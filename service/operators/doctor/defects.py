"""Known defects of stores, shown by canaries: keys with unusual characters, and multipart uploads.

These are sent only after a plain canary arrived: what they show is the store's own defect.
"""

import asyncio
import time
from io import BytesIO
from urllib.parse import quote, unquote_plus
from uuid import uuid4

from minio import Minio

from quicksilver.domain.partition import CANARY_PREFIX
from quicksilver.lake.stores import store_of
from quicksilver.ledger import Ledger
from quicksilver.operators.doctor.check import BrokenError, Probe
from quicksilver.roles.canary import remove
from quicksilver.support import clock

# The smallest part that S3 allows, and one byte that makes a second one.
_PART = 5 * 1024 * 1024


async def check_defects(probe: Probe, client: Minio, ledger: Ledger, bucket: str) -> None:
    """Send both canaries, and wait for their outcome.

    Raises:
        BrokenError: one shows a known defect, which it names.
    """
    title = store_of(probe.settings).title
    came = await _came(probe, client, ledger, bucket, "a+b %41 é", b"odd")
    if came is None:
        raise BrokenError(
            f"{title} tells of plain keys in {bucket}, but not of one with a space and a plus",
            "update the store; until then the sweep finds such objects",
        )
    written, told = came
    if told != written:
        how = "as they are" if told == unquote_plus(written) else "form-encoded"
        raise BrokenError(
            f"{title} sends keys {how}, which QUICKSILVER_STORE={probe.settings.store} does not"
            f" expect: {written!r} was taken for {told!r}",
            "set QUICKSILVER_STORE=other, with which the listing decides what a key means",
        )
    if await _came(probe, client, ledger, bucket, "parts", b"p" * (_PART + 1)) is None:
        raise BrokenError(
            f"{title} tells of plain uploads to {bucket}, but not of those in parts",
            "have its rules tell of s3:ObjectCreated:*, not of Put alone, or update the store;"
            " until then the sweep finds such objects",
        )


async def _came(
    probe: Probe, client: Minio, ledger: Ledger, bucket: str, name: str, body: bytes
) -> tuple[str, str] | None:
    """A canary's key as it was written and as it was told; None where nothing was.

    Raises:
        BrokenError: it came without a key.
    """
    key = f"{CANARY_PREFIX}{uuid4().hex}-{name}"
    since = clock.now()
    put = await asyncio.to_thread(
        client.put_object, bucket, key, BytesIO(body), len(body), part_size=_PART
    )
    try:
        deadline = time.monotonic() + probe.patience
        while True:
            for told in (key, unquote_plus(key), quote(key), quote(key, safe="")):
                if await ledger.views.events(key=told, limit=1):
                    return key, told
            for row in await ledger.quarantine.list(limit=20):
                reason = row["reason"].removeprefix("quarantined:")
                if row["last_seen"] >= since and reason.startswith("bad-key"):
                    raise BrokenError(
                        f"{store_of(probe.settings).title} tells of an upload"
                        f"{' in parts' if name == 'parts' else ''} without its key ({reason})",
                        "update the store; until then the sweep finds such objects, and their"
                        " events lie in quarantine",
                    )
            if time.monotonic() > deadline:
                return None
            await asyncio.sleep(0.1)
    finally:
        await asyncio.to_thread(remove, client, bucket, key, put.version_id)
