"""Operators' sessions: a token with each request, or one login and a signed cookie that expires.

The key that signs a cookie is derived from the token that was used at login: removing this token
from the settings ends the sessions it opened, and adding another one ends none.
"""

import hashlib
import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Literal
from urllib.parse import urlsplit

from itsdangerous import BadSignature, URLSafeSerializer
from pydantic import SecretStr
from starlette.requests import HTTPConnection

from quicksilver.settings import Settings
from quicksilver.support import clock
from quicksilver.web.tokens import bearer, is_accepted

COOKIE = "quicksilver_session"
CSRF_FIELD = "csrf"
CSRF_HEADER = "x-csrf-token"

# A working day: the next day an operator logs in again.
LIFETIME = timedelta(hours=12)

_NAME_LENGTH = 40


# A viewer reads everything and changes nothing.
Role = Literal["operator", "viewer"]


@dataclass(frozen=True, slots=True)
class Session:
    """A user's session, and the token that its forms must carry.

    `cookie` is the value to set, for a session that the browser does not hold yet. `is_by_header`
    is one that lasts as long as its request, which carried the operators' token itself. `id` is of
    a session that can be ended: the ledger knows those that were.
    """

    actor: str
    csrf: str
    cookie: str | None = None
    is_by_header: bool = False
    role: Role = "operator"
    id: str = ""

    def accepts(self, token: object) -> bool:
        """Whether a form's or header's CSRF token is this session's.

        A request with the token in a header needs none: another site's form cannot send one.
        """
        return self.is_by_header or (
            isinstance(token, str) and hmac.compare_digest(token.encode(), self.csrf.encode())
        )


def log_in(settings: Settings, token: str, name: str) -> Session | None:
    """A new session for an accepted token, under the given name; None for any other token."""
    role = _role_of(settings, token)
    return _open(_key(token), _clean(name), role=role) if role else None


def session_of(settings: Settings, connection: HTTPConnection) -> Session | None:
    """The session that a request's bearer token or cookie opens; None when neither does.

    `access.known_session` checks whether it was logged out meanwhile.

    A bearer token takes precedence: with a wrong one, a cookie is ignored. Headers of other
    schemes are ignored: a proxy's own `Basic` comes with every request of its users.

    Without operator tokens every user of this machine has one: only its CSRF token matters.
    """
    cookie = connection.cookies.get(COOKIE, "")
    if not settings.operator_tokens:
        key = _local_key(settings)
        session = _read(key, cookie, "local") or _open(key, "", "local")
        return replace(session, id="")
    presented = bearer(connection.headers.get("authorization"))
    if presented is not None:
        role = _role_of(settings, presented)
        if role is None:
            return None
        return Session("token", _csrf(_key(presented), "header"), is_by_header=True, role=role)
    for role, tokens in _tokens(settings):
        for token in tokens:
            session = _read(_key(token.get_secret_value()), cookie, "page", role)
            if session is not None:
                return session
    return None


def _tokens(settings: Settings) -> tuple[tuple[Role, tuple[SecretStr, ...]], ...]:
    return ("operator", settings.operator_tokens), ("viewer", settings.viewer_tokens)


def _role_of(settings: Settings, token: str) -> Role | None:
    """What a token allows; every list is compared, whichever it is in."""
    found: list[Role] = [role for role, tokens in _tokens(settings) if is_accepted(token, tokens)]
    return found[0] if found else None


def is_own_origin(settings: Settings, connection: HTTPConnection) -> bool:
    """Whether a request comes from our own pages, or from no browser at all."""
    headers = connection.headers
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site in ("same-origin", "none")
    origin = headers.get("origin")
    if origin is None:
        return True
    return urlsplit(origin).netloc in (headers.get("host"), urlsplit(settings.url).netloc)


def is_local_name(settings: Settings, connection: HTTPConnection) -> bool:
    """Whether the host a browser asked for is an address, a bare name, or our own.

    Guards a service without tokens from DNS rebinding: there, a foreign domain resolves to
    loopback, and the browser takes its pages for ours. A foreign domain has a dot.
    """
    host = urlsplit(f"//{connection.headers.get('host', '')}").hostname or ""
    is_address = ":" in host or host.replace(".", "").isdigit()
    return is_address or "." not in host or host == urlsplit(settings.url).hostname


def cookie_settings(
    settings: Settings, connection: HTTPConnection, name: str = COOKIE
) -> dict[str, Any]:
    """The attributes with which a cookie of the pages is set and deleted."""
    return {
        "key": name,
        "path": "/",
        "httponly": True,
        # Not strict: an alert's link must find its reader logged in. A GET changes nothing.
        "samesite": "lax",
        "secure": settings.url.startswith("https://") or connection.url.scheme == "https",
    }


def _open(key: bytes, name: str, kind: str = "page", role: Role = "operator") -> Session:
    session_id = secrets.token_urlsafe(16)
    until = int((clock.now() + LIFETIME).timestamp())
    cookie = _serializer(key).dumps({"id": session_id, "name": name, "until": until})
    return Session(_actor(kind, name), _csrf(key, session_id), str(cookie), role=role)


def _read(key: bytes, cookie: str, kind: str, role: Role = "operator") -> Session | None:
    try:
        data: Mapping[str, Any] = _serializer(key).loads(cookie)
    except BadSignature:
        return None
    if data["until"] <= clock.now().timestamp():
        return None
    csrf = _csrf(key, data["id"])
    return Session(_actor(kind, data["name"]), csrf, role=role, id=data["id"])


def _actor(kind: str, name: str) -> str:
    return f"{kind}:{name}" if name else kind


def _clean(name: str) -> str:
    return "".join(c for c in name if c.isprintable()).strip()[:_NAME_LENGTH]


def _serializer(key: bytes) -> URLSafeSerializer:
    return URLSafeSerializer(key, "session", signer_kwargs={"digest_method": hashlib.sha256})


def _csrf(key: bytes, session_id: str) -> str:
    return hmac.new(key, b"csrf\0" + session_id.encode(), hashlib.sha256).hexdigest()


def _key(token: str) -> bytes:
    return hashlib.sha256(b"quicksilver page\0" + token.encode("utf-8", "surrogatepass")).digest()


def _local_key(settings: Settings) -> bytes:
    """A secret that survives a restart, so that an open page's forms do."""
    parts: list[SecretStr] = [*settings.webhook_tokens, settings.database_url]
    return _key("\0".join(part.get_secret_value() for part in parts))
