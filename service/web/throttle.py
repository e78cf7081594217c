"""Wrong tokens are counted by address: too many, and the answer is 429 instead of 401.

A right token is never refused, whatever its address did before: behind a proxy everybody has the
same address, and a sender whose token was fixed must not wait. The tokens are too long to be
guessed; this limit makes guessing visible and cheap to answer.
"""

import ipaddress
import math
from collections import OrderedDict
from datetime import datetime, timedelta
from typing import Any

import structlog
from starlette.datastructures import State
from starlette.requests import HTTPConnection

from quicksilver.support import clock

_log = structlog.get_logger(__name__)

_ALLOWED = 20
_WINDOW = timedelta(minutes=1)

# Addresses remembered; past it the one with the oldest failure is forgotten.
_ADDRESSES = 4096


class FailedLogins:
    """A leaking bucket for each address: `allowed` failures at once, as many again a `window`."""

    def __init__(
        self,
        *,
        allowed: int = _ALLOWED,
        window: timedelta = _WINDOW,
        addresses: int = _ADDRESSES,
    ) -> None:
        self._allowed = allowed
        self._leak = allowed / window.total_seconds()
        self._addresses = addresses
        self._levels: OrderedDict[str, tuple[float, datetime]] = OrderedDict()

    def note(self, address: str) -> int | None:
        """Count a failure; the seconds to wait when there were too many, else None."""
        who = _network(address)
        now = clock.now()
        level, at = self._levels.pop(who, (0.0, now))
        before = max(0.0, level - max(0.0, (now - at).total_seconds()) * self._leak)
        # About twice as much as is allowed is as bad as it gets: a window later it is calm again.
        after = min(before + 1, 2.0 * self._allowed - 1)
        self._levels[who] = (after, now)
        if len(self._levels) > self._addresses:
            self._levels.popitem(last=False)
        if after <= self._allowed:
            return None
        if before <= self._allowed:
            _log.warning("too many wrong tokens from one address", address=who)
        return math.ceil((after + 1 - self._allowed) / self._leak)

    def __len__(self) -> int:
        return len(self._levels)


def failed_logins(state: State) -> FailedLogins:
    """The application's count, made at the first failure."""
    counted: Any = getattr(state, "failed_logins", None)
    if not isinstance(counted, FailedLogins):
        counted = state.failed_logins = FailedLogins()
    return counted


def _network(address: str) -> str:
    """The address; of IPv6 the network, since one host has as many addresses as it likes."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address[:100]
    if parsed.version == 4:
        return str(parsed)
    if parsed.ipv4_mapped:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((int(parsed), 64), strict=False))


def address_of(connection: HTTPConnection) -> str:
    """Where a request comes from, as far as the server knows."""
    return connection.client.host if connection.client else "unknown"
