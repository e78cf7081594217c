"""Messages of Amazon SNS: their signature, topic and content.

Anyone can post to a public address, so a message is accepted only when its topic is allowed, its
certificate comes from the topic's own region of AWS, and its signature is valid. Checked in that
order: a forged message costs no more than reading a small body.
"""

import asyncio
import base64
import binascii
import re
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

import httpx
import orjson
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.x509 import load_pem_x509_certificate

from quicksilver.settings import TOPIC
from quicksilver.support import clock

Fetch = Callable[[str], Awaitable[bytes]]

_CERTIFICATE_PATH = re.compile(r"/SimpleNotificationService-[0-9a-f]{32}\.pem")

# The names that are signed, in this order; `Subject` only where there is one.
_SIGNED = {
    "Notification": ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    "SubscriptionConfirmation": (
        *("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
    ),
}
_SIGNED["UnsubscribeConfirmation"] = _SIGNED["SubscriptionConfirmation"]
_HASHES = {"1": hashes.SHA1, "2": hashes.SHA256}  # AWS's choice: a topic says which

# A certificate has about 2 kB; a confirmation's answer less than 1 kB.
_LONGEST_ANSWER = 65_536
_PATIENCE = 5.0
# AWS changes a region's certificate about once a year.
_CERTIFICATES = 32
# Bounds our requests to AWS when messages name invented certificate addresses: fetches a window of
# so many seconds.
_FETCHES, _FETCH_WINDOW = 20, 60.0


class SnsRefusedError(Exception):
    """The message is rejected; the text says why, to the sender too."""


class SnsUnavailableError(Exception):
    """AWS could not be reached; the same message may be accepted later."""


@dataclass(frozen=True, slots=True)
class SnsMessage:
    """A message with a valid signature."""

    type: str
    topic: str
    text: str
    subscribe_url: str | None


async def fetch(url: str) -> bytes:
    """GET a small document over https, following no redirect.

    Raises:
        SnsUnavailableError: no answer, a status other than 200, or too long a body.
    """
    try:
        async with (
            httpx.AsyncClient(timeout=_PATIENCE, follow_redirects=False) as client,
            client.stream("GET", url) as answer,
        ):
            found = bytearray()
            async for chunk in answer.aiter_bytes():
                found += chunk
                if len(found) > _LONGEST_ANSWER:
                    raise SnsUnavailableError("AWS's answer is too long")
    except httpx.HTTPError as error:
        raise SnsUnavailableError(f"AWS does not answer: {type(error).__name__}") from error
    if answer.status_code != 200:
        raise SnsUnavailableError(f"AWS answered {answer.status_code}")
    return bytes(found)


class Topics:
    """The topics that are listened to, and the certificates of their regions."""

    def __init__(self, allowed: Collection[str], *, fetch: Fetch = fetch) -> None:
        self._allowed = frozenset(allowed)
        self._fetch = fetch
        self._keys: dict[str, RSAPublicKey] = {}
        self._fetched_at: list[float] = []
        self._fetching = asyncio.Lock()

    def __bool__(self) -> bool:
        return bool(self._allowed)

    async def open(self, body: bytes) -> SnsMessage:
        """Check a message.

        Raises:
            SnsRefusedError: not an SNS message, a topic not allowed, or an invalid signature.
            SnsUnavailableError: its certificate cannot be fetched now.
        """
        fields = _fields(body)
        kind, topic = fields["Type"], fields["TopicArn"]
        if topic not in self._allowed:
            raise SnsRefusedError("the topic is not in QUICKSILVER_SNS_TOPICS")
        host = _host(topic)
        algorithm = _HASHES.get(fields.get("SignatureVersion", ""))
        if algorithm is None:
            raise SnsRefusedError("unknown SignatureVersion")
        try:
            signature = base64.b64decode(fields.get("Signature", ""), validate=True)
        except (binascii.Error, ValueError) as error:
            raise SnsRefusedError("the signature is not base64") from error
        key = await self._key(fields.get("SigningCertURL", ""), host)
        signed = _signed_text(kind, fields)
        try:
            key.verify(signature, signed, padding.PKCS1v15(), algorithm())
        except InvalidSignature as error:
            raise SnsRefusedError("the signature does not hold") from error
        subscribe = fields.get("SubscribeURL")
        if kind == "SubscriptionConfirmation" and not _confirms(subscribe, host, topic):
            raise SnsRefusedError("SubscribeURL does not lead to the topic's own region")
        return SnsMessage(kind, topic, fields["Message"], subscribe)

    async def confirm(self, message: SnsMessage) -> None:
        """Visit a confirmation's `SubscribeURL`.

        Raises:
            SnsUnavailableError: AWS did not take it; it sends the confirmation again.
        """
        if message.type != "SubscriptionConfirmation" or message.subscribe_url is None:
            raise ValueError("only a confirmation can be confirmed")
        await self._fetch(message.subscribe_url)

    async def _key(self, url: str, host: str) -> RSAPublicKey:
        parts = urlsplit(url)
        if (parts.scheme, parts.netloc) != ("https", host) or not (
            _CERTIFICATE_PATH.fullmatch(parts.path) and not parts.query and not parts.fragment
        ):
            raise SnsRefusedError("SigningCertURL is not one of the topic's own region")
        known = self._keys.get(url)
        if known is not None:
            # A known certificate does not wait behind another message's unknown one.
            return known
        async with self._fetching:
            if url not in self._keys:
                self._budget()
                found = _public_key(await self._fetch(url))
                if len(self._keys) >= _CERTIFICATES:
                    self._keys.pop(next(iter(self._keys)))
                self._keys[url] = found
            return self._keys[url]

    def _budget(self) -> None:
        now = asyncio.get_running_loop().time()
        self._fetched_at = [at for at in self._fetched_at if at > now - _FETCH_WINDOW]
        if len(self._fetched_at) >= _FETCHES:
            raise SnsUnavailableError("too many unknown certificates; send again later")
        self._fetched_at.append(now)


def _fields(body: bytes) -> dict[str, str]:
    try:
        tree: Any = orjson.loads(body)
    except ValueError as error:
        raise SnsRefusedError("not JSON") from error
    if not isinstance(tree, dict):
        raise SnsRefusedError("not an SNS message")
    fields = {
        name: value
        for name, value in cast("dict[str, Any]", tree).items()
        if isinstance(value, str)
    }
    wanted = _SIGNED.get(fields.get("Type", ""))
    if wanted is None or any(name not in fields for name in wanted if name != "Subject"):
        raise SnsRefusedError("not an SNS message")
    # The signed text is lines: a value that brings its own could pass for another field.
    if any("\n" in fields[name] for name in wanted if name in fields and name not in _FREE):
        raise SnsRefusedError("a field has more than one line")
    return fields


_FREE = {"Message", "Subject"}


def _signed_text(kind: str, fields: dict[str, str]) -> bytes:
    lines = [f"{name}\n{fields[name]}\n" for name in _SIGNED[kind] if name in fields]
    return "".join(lines).encode()


def _host(topic: str) -> str:
    found = TOPIC.fullmatch(topic)
    if found is None:
        raise SnsRefusedError("not a topic's ARN")
    return f"sns.{found[2]}.amazonaws.com" + (".cn" if found[1] == "aws-cn" else "")


def _confirms(url: str | None, host: str, topic: str) -> bool:
    parts = urlsplit(url or "")
    query = parse_qs(parts.query)
    return (
        (parts.scheme, parts.netloc) == ("https", host)
        and parts.path in ("", "/")
        and query.get("Action") == ["ConfirmSubscription"]
        and query.get("TopicArn") == [topic]
    )


def _public_key(pem: bytes) -> RSAPublicKey:
    try:
        certificate = load_pem_x509_certificate(pem)
        key = certificate.public_key()
    except ValueError as error:
        raise SnsRefusedError("the certificate cannot be read") from error
    if not isinstance(key, RSAPublicKey):
        raise SnsRefusedError("the certificate's key is not RSA")
    if not certificate.not_valid_before_utc <= clock.now() <= certificate.not_valid_after_utc:
        raise SnsRefusedError("the certificate has expired, or is not valid yet")
    return key
