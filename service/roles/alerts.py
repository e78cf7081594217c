"""Alerts: trouble that an operator must know about, raised once and cleared once.

The ledger decides which replica was first: however many see the same trouble, one of them gets True
and notifies people. Each change sends a NOTIFY with the payload `alert`.
"""

from collections.abc import Collection, Mapping

import structlog

from quicksilver.ledger import Ledger

_log = structlog.get_logger(__name__)

# More than any check of a part can raise.
_MOST = 1000


async def raise_alert(ledger: Ledger, kind: str, subject: str, text: str) -> bool:
    """Raise an alert; False when one of this `kind` and `subject` is raised already.

    Args:
        ledger: where it is kept.
        kind: a plain word, the same for all alerts of a kind: `lane`.
        subject: what it is about: `datasets/fast`.
        text: what happened, where, and what to do; at most 2,000 characters are kept.

    Raises:
        LedgerUnavailableError: it is not known whether it is raised; try again later.
    """
    if not await ledger.watch.raise_alert(kind, subject, text):
        return False
    _log.error("alert raised", kind=kind, subject=subject, text=text)
    return True


async def clear_alert(ledger: Ledger, kind: str, subject: str) -> bool:
    """Clear an alert; False when none of this `kind` and `subject` is raised.

    Raises:
        LedgerUnavailableError: as in `raise_alert`.
    """
    if not await ledger.watch.clear_alert(kind, subject):
        return False
    _log.info("alert cleared", kind=kind, subject=subject)
    return True


async def keep_alerts(
    ledger: Ledger, wanted: Mapping[tuple[str, str], str], *, kinds: Collection[str]
) -> None:
    """Raise what is wanted, a text by kind and subject, and clear the rest of these kinds.

    Raises:
        LedgerUnavailableError: as in `raise_alert`.
    """
    for (kind, subject), text in wanted.items():
        await raise_alert(ledger, kind, subject, text)
    for row in await ledger.notices.alerts(limit=_MOST):
        known = (row["kind"], row["subject"])
        if row["kind"] in kinds and known not in wanted:
            await clear_alert(ledger, *known)
