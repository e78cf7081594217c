"""Pushes of Pub/Sub: believed only with Google's signature, for us, and of an account that may."""

import asyncio
import json
import time
from datetime import timedelta
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import KeySet, RSAKey

from quicksilver.intake.pubsub import Pushes, PushRefusedError, PushUnavailableError
from quicksilver.support import clock

AUDIENCE = "https://events.example/events/pubsub"
ACCOUNT = "pusher@project.iam.gserviceaccount.com"
KEY, NEXT, FORGED = (RSAKey.generate_key(2048, {"kid": kid}) for kid in ("one", "two", "one"))


def claims(**changes: Any) -> dict[str, Any]:
    now = int(time.time())
    told = {
        "iss": "https://accounts.google.com",
        "aud": AUDIENCE,
        "email": ACCOUNT,
        "email_verified": True,
        "iat": now,
        "exp": now + 3600,
    }
    return {name: value for name, value in (told | changes).items() if value is not None}


def token(key: RSAKey = KEY, **changes: Any) -> str:
    return jwt.encode({"alg": "RS256", "kid": key.kid}, claims(**changes), key)


def published(*keys: RSAKey) -> bytes:
    return json.dumps(KeySet(list(keys)).as_dict(private=False)).encode()


class Google:
    """Where the keys are had; `asked` counts how often."""

    def __init__(self, *keys: RSAKey) -> None:
        self.answer = published(*keys)
        self.asked = 0

    async def __call__(self) -> bytes:
        self.asked += 1
        if not self.answer:
            raise PushUnavailableError("Google answered 500")
        return self.answer


def check(value: str | None, google: Google) -> None:
    asyncio.run(Pushes([ACCOUNT], AUDIENCE, fetch=google).check(value))


def test_googles_own_is_believed_and_its_keys_are_kept() -> None:
    google = Google(KEY)
    pushes = Pushes([ACCOUNT], AUDIENCE, fetch=google)

    async def twice() -> None:
        await pushes.check(token())
        await pushes.check(token())

    asyncio.run(twice())
    assert google.asked == 1


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"aud": "https://somebody.example/"}, "aud"),
        ({"aud": None}, "aud"),
        ({"iss": "https://issuer.example"}, "iss"),
        ({"iss": None}, "iss"),
        ({"email": "other@project.iam.gserviceaccount.com"}, "email"),
        ({"email": None}, "email"),
        ({"email_verified": False}, "email_verified"),
        ({"exp": int(time.time()) - 3600}, "expired"),
        ({"exp": None}, "exp"),
        ({"iat": int(time.time()) + 3600}, "issued in the future"),
        ({"nbf": int(time.time()) + 3600}, "not yet valid"),
    ],
)
def test_what_is_not_made_out_for_us_is_refused(changes: dict[str, Any], why: str) -> None:
    with pytest.raises(PushRefusedError, match=why):
        check(token(**changes), Google(KEY))


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        "a-webhook-token",
        token(FORGED),
        token()[:-4] + "AAAA",
        "eyJhbGciOiJub25lIn0." + token().split(".")[1] + ".",
    ],
)
def test_what_google_did_not_sign_is_refused(value: str | None) -> None:
    with pytest.raises(PushRefusedError):
        check(value, Google(KEY))


def test_a_new_key_of_googles_is_looked_for_once_a_minute() -> None:
    google = Google(KEY)
    pushes = Pushes([ACCOUNT], AUDIENCE, fetch=google)

    async def renewed() -> None:
        await pushes.check(token())
        for _ in range(3):
            with pytest.raises(PushRefusedError, match="not signed by Google"):
                await pushes.check(token(NEXT))
        assert google.asked == 1
        clock.advance(timedelta(seconds=61))
        google.answer = published(KEY, NEXT)
        await pushes.check(token(NEXT))
        assert google.asked == 2

    try:
        asyncio.run(renewed())
    finally:
        clock.reset()


@pytest.mark.parametrize("answer", [b"", b"no JSON", b'{"keys": [{"kty": "RSA"}]}'])
def test_without_googles_keys_nothing_is_decided(answer: bytes) -> None:
    google = Google(KEY)
    google.answer = answer
    with pytest.raises(PushUnavailableError):
        check(token(), google)
