"""Bearer tokens, compared in constant time."""

import hashlib
import hmac
from collections.abc import Sequence

from pydantic import SecretStr


def bearer(header: str | None) -> str | None:
    """The token of an `Authorization: Bearer <token>` header; None without one of this scheme.

    Empty, and so never accepted, if the scheme comes with no token or with several.
    """
    scheme, _, token = (header or "").partition(" ")
    if scheme.lower() != "bearer":
        return None
    token = token.strip(" ")
    return "" if any(character.isspace() for character in token) else token


def is_accepted(presented: str | None, tokens: Sequence[SecretStr]) -> bool:
    """Whether a token is one of those accepted.

    Every accepted token is compared, and digests instead of texts: the time says neither which
    one matched nor how long any of them is.
    """
    digest = _digest(presented or "")
    found = False
    for token in tokens:
        found |= hmac.compare_digest(digest, _digest(token.get_secret_value()))
    return found and bool(presented)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
