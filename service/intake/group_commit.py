"""Group commit: requests that arrive while a commit is under way share the next one.

One fsync then serves many events, and the load on the ledger is one transaction at a time however
many requests are open.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import psycopg
import structlog

from quicksilver.domain.arrival import Arrival
from quicksilver.domain.reasons import Reason
from quicksilver.errors import LedgerUnavailableError
from quicksilver.ledger import Ledger
from quicksilver.support.metrics import COMMIT_SECONDS

_log = structlog.get_logger(__name__)

# The reason code of an arrival that the ledger cannot hold.
REFUSED = Reason.QUARANTINED.because("refused-by-ledger")

# Larger transactions gain little and hold the partitions' locks longer.
_BATCH = 500

# Above this the ledger is behind by seconds: refuse, and let the sender's own queue hold them.
_WAITING = 20_000


@dataclass(slots=True, eq=False)
class _Request:
    arrivals: Sequence[Arrival]
    done: asyncio.Future[list[str]] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )


class Recorder:
    """Records arrivals in shared commits; returns to each caller after its own is durable."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._waiting: list[_Request] = []
        self._count = 0
        self._flusher: asyncio.Task[None] | None = None

    async def record(self, arrivals: Sequence[Arrival]) -> list[str]:
        """Make arrivals durable; the reason code of each, in order.

        One that the ledger itself refuses gets `quarantined:refused-by-ledger` and is not recorded.

        Raises:
            LedgerUnavailableError: nothing was recorded, or too many wait already.
        """
        if not arrivals:
            return []
        # A body that is larger than the queue is taken alone: refused, it would be resent for ever.
        if self._count and self._count + len(arrivals) > _WAITING:
            raise LedgerUnavailableError("too many events wait for the ledger; send again later")
        request = _Request(arrivals)
        self._waiting.append(request)
        self._count += len(arrivals)
        if self._flusher is None or self._flusher.done():
            self._flusher = asyncio.create_task(self._flush())
        return await request.done

    async def close(self) -> None:
        """Wait for the commit under way."""
        if self._flusher is not None:
            await asyncio.wait([self._flusher])

    async def _flush(self) -> None:
        while self._waiting:
            batch, size = [self._waiting[0]], len(self._waiting[0].arrivals)
            for request in self._waiting[1:]:
                size += len(request.arrivals)
                if size > _BATCH:
                    break
                batch.append(request)
            del self._waiting[: len(batch)]
            try:
                await self._commit(batch)
            finally:
                self._count -= sum(len(request.arrivals) for request in batch)

    async def _commit(self, batch: list[_Request]) -> None:
        try:
            with COMMIT_SECONDS.time():
                reasons = await self._ledger.recording.record(
                    [a for r in batch for a in r.arrivals]
                )
        except LedgerUnavailableError as error:
            for request in batch:
                _fail(request, error)
        except (psycopg.ProgrammingError, psycopg.InternalError) as error:
            # Schema or privileges are wrong, not the events: they come again once that is fixed.
            first = str(error).partition("\n")[0]
            for request in batch:
                _fail(request, LedgerUnavailableError(f"the ledger cannot be written: {first}"))
        except Exception as error:
            # One arrival that cannot be recorded must not fail the others.
            if len(batch) > 1:
                for request in batch:
                    await self._commit([request])
            else:
                await self._singly(batch[0], error)
        except BaseException as error:
            for request in batch:
                _fail(request, LedgerUnavailableError(f"recording broke off: {error!r}"))
            raise
        else:
            start = 0
            for request in batch:
                end = start + len(request.arrivals)
                _succeed(request, reasons[start:end])
                start = end

    async def _singly(self, request: _Request, error: Exception) -> None:
        """A commit for each arrival; those that still fail are refused, and their error logged."""
        reasons: list[str] = []
        for arrival in request.arrivals:
            try:
                if len(request.arrivals) > 1:
                    reasons += await self._ledger.recording.record([arrival])
                    continue
            except LedgerUnavailableError as away:
                _fail(request, away)
                return
            except Exception as own:
                error = own
            _log.error("the ledger refuses an event", exc_info=error, key=arrival.event.key)
            reasons.append(REFUSED)
        _succeed(request, reasons)


def _succeed(request: _Request, reasons: list[str]) -> None:
    if not request.done.done():
        request.done.set_result(reasons)


def _fail(request: _Request, error: Exception) -> None:
    if not request.done.done():
        request.done.set_exception(error)
