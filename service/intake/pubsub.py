"""Google's Pub/Sub as a sender: the signature, audience and account of its pushes.

Each push carries a short-lived token that Google signs. Anyone can have Google sign one for any
audience, so the account in it decides: only those of QUICKSILVER_PUBSUB_ACCOUNTS may push.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from typing import Any

import httpx
import orjson
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from quicksilver.support import clock

Fetch = Callable[[], Awaitable[bytes]]

_KEYS_AT = "https://www.googleapis.com/oauth2/v3/certs"
_ISSUERS = ["https://accounts.google.com", "accounts.google.com"]
_PATIENCE = 5.0
# Seconds: Google's keys live for days; a token with an unknown one may bring the next.
_KEEP, _LOOK_AGAIN = 3600.0, 60.0
# Seconds that two machines' clocks may differ.
_LEEWAY = 60


class PushRefusedError(Exception):
    """The push is rejected; the text says why, to the sender too."""


class PushUnavailableError(Exception):
    """Google's keys cannot be fetched; the same push may be accepted later."""


async def fetch_keys() -> bytes:
    """Google's public keys, as a JSON Web Key Set.

    Raises:
        PushUnavailableError: no answer, or no 200.
    """
    try:
        async with httpx.AsyncClient(timeout=_PATIENCE, follow_redirects=False) as client:
            answer = await client.get(_KEYS_AT)
    except httpx.HTTPError as error:
        raise PushUnavailableError(f"Google does not answer: {type(error).__name__}") from error
    if answer.status_code != 200:
        raise PushUnavailableError(f"Google answered {answer.status_code}")
    return answer.content


class Pushes:
    """The service accounts whose pushes are taken, and Google's keys."""

    def __init__(
        self, accounts: Collection[str], audience: str, *, fetch: Fetch = fetch_keys
    ) -> None:
        self._accounts = sorted(accounts)
        self._audience = audience
        self._fetch = fetch
        self._keys: KeySet | None = None
        self._fetched_at = 0.0
        self._fetching = asyncio.Lock()

    def __bool__(self) -> bool:
        return bool(self._accounts)

    async def check(self, token: str | None) -> None:
        """Accept a push's bearer token, or refuse it.

        Raises:
            PushRefusedError: signature, issuer, audience, time or account is not right.
            PushUnavailableError: Google's keys cannot be fetched now.
        """
        if not token:
            raise PushRefusedError("the push has no token: enable authentication for it")
        keys = await self._known(_KEEP)
        try:
            claims = _verified(token, keys)
        except (JoseError, ValueError):
            # Fetching again tells a key that is new from a forged one.
            claims = _verified_or_refused(token, await self._known(_LOOK_AGAIN))
        registry = jwt.JWTClaimsRegistry(
            now=lambda: int(clock.now().timestamp()),
            leeway=_LEEWAY,
            exp={"essential": True},
            iss={"essential": True, "values": _ISSUERS},
            aud={"essential": True, "value": self._audience},
            email={"essential": True, "values": self._accounts},
            email_verified={"essential": True, "value": True},
        )
        try:
            registry.validate(claims)
        except JoseError as error:
            raise PushRefusedError(f"the token does not hold: {error}") from error

    async def _known(self, at_most: float) -> KeySet:
        """Google's keys, fetched when they are older than so many seconds."""
        async with self._fetching:
            now = clock.now().timestamp()
            if self._keys is None or now - self._fetched_at > at_most:
                try:
                    self._keys = KeySet.import_key_set(orjson.loads(await self._fetch()))
                except (JoseError, ValueError) as error:
                    raise PushUnavailableError("Google's keys cannot be read") from error
                self._fetched_at = now
            return self._keys


def _verified(token: str, keys: KeySet) -> dict[str, Any]:
    # The token's own claim of its algorithm is ignored: Google signs with this one.
    return jwt.decode(token, keys, algorithms=["RS256"]).claims


def _verified_or_refused(token: str, keys: KeySet) -> dict[str, Any]:
    try:
        return _verified(token, keys)
    except (JoseError, ValueError) as error:
        raise PushRefusedError("the token is not signed by Google") from error
