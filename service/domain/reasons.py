"""What a quarantine's reason code means, and what to do about it: for the page and the shell."""

_MEANINGS = {
    "not-json": (
        "It is not JSON: something other than MinIO or S3 posts here with an accepted token. Find"
        " the sender by its address, then discard it."
    ),
    "not-an-event": (
        "It is JSON, but no notification that we know. Find the sender by its address; if it told"
        " of objects, `quicksilver reconcile` finds them."
    ),
    "refused-by-ledger": (
        "It was understood, and the ledger could not hold it. Replay it after an upgrade; until"
        " then `quicksilver reconcile` finds its object."
    ),
}


def meaning_of(reason: str) -> str:
    """A sentence or two for a reason code; empty for one that is not known here."""
    code = reason.removeprefix("quarantined:")
    if code.startswith("bad-"):
        field = code.removeprefix("bad-").replace("-", " ")
        return (
            f"A record's {field} is missing, or not as S3 writes it; its other records were taken."
            " Replay it after an upgrade that understands it; until then `quicksilver reconcile`"
            " finds its object."
        )
    return _MEANINGS.get(code, "")
