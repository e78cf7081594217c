"""The ledger on real Postgres, and stand-ins for what lies around it: bronze, Prefect, warehouse.

The stand-ins are strict about what matters here: Prefect keeps one run a key for ever and may cut
an answer after it committed, and the warehouse's fence refuses builds that were given up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any, cast
from uuid import UUID, uuid4

import psycopg

from quicksilver.domain.arrival import Arrival, Lane
from quicksilver.domain.datasets import Dataset, Datasets
from quicksilver.domain.event import ObjectEvent
from quicksilver.domain.manifest import ListedObject
from quicksilver.domain.partition import Partition
from quicksilver.errors import (
    BronzeUnavailableError,
    DeploymentNotFoundError,
    PrefectUnavailableError,
    WarehouseUnavailableError,
)
from quicksilver.lake.bronze import Bronze
from quicksilver.ledger import BUILD_SPACE, BegunBuild, Ledger
from quicksilver.orchestrator.deployments import Deployments
from quicksilver.orchestrator.run_state import RunState
from quicksilver.roles.dispatcher import Dispatcher
from quicksilver.roles.settler import Settler
from quicksilver.roles.sweep import Sweep
from quicksilver.settings import Settings, load_settings
from quicksilver.support import clock
from quicksilver.support.postgres import Database, Row
from tests.support.declared import arrive, folder

NAME = "trips"
BUCKET = "lake"
DT = date(2024, 1, 1)
DEPLOYMENT = "silver-build/trips"
TERMINAL = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}


def dataset(name: str = NAME, **fields: Any) -> Dataset:
    """A declared dataset whose partitions lie in `{name}/dt=…/`."""
    return Dataset.model_validate(
        {
            "name": name,
            "bucket": BUCKET,
            "key": f"{name}/dt={{dt}}/{{file}}",
            "deployment": DEPLOYMENT,
            **fields,
        }
    )


class FakeBronze(Bronze):
    """A bucket in memory."""

    def __init__(self) -> None:
        self.objects: dict[str, ListedObject] = {}
        self.is_away = False
        # Datasets whose folders may not be listed, and those whose listing never ends.
        self.unlistable: set[str] = set()
        self.hanging: set[str] = set()
        # Called at each listing, after it was taken: what happens while it is on its way.
        self.meanwhile: list[Any] = []

    def put(self, key: str, content: str) -> ListedObject:
        """Put an object; its etag is its content."""
        self.objects[key] = ListedObject(key, content, len(content), clock.now())
        return self.objects[key]

    async def list_folder(self, bucket: str, prefix: str) -> list[ListedObject]:
        if prefix.partition("/")[0] in self.hanging:
            await asyncio.Event().wait()
        listing = list(self.walk(bucket, prefix))
        if self.meanwhile:
            await self.meanwhile.pop(0)()
        return listing

    def walk(self, bucket: str, prefix: str, *, start: str = "") -> Iterator[ListedObject]:
        if self.is_away or prefix.partition("/")[0] in self.unlistable:
            raise BronzeUnavailableError("MinIO is away")
        found = (o for k, o in self.objects.items() if k.startswith(prefix) and k >= start)
        return iter(sorted(found, key=_key))


def _key(listed: ListedObject) -> str:
    return listed.key


class FakePrefect(Deployments):
    """Runs in memory; shared by every dispatcher of a test."""

    def __init__(self) -> None:
        self.is_away = False
        self.knows_deployment = True
        # Whether the deployment's flow takes several builds a run.
        self.takes_batches = False
        # How many of the next creations commit and then lose their answer.
        self.cuts = 0
        self.keys: dict[str, UUID] = {}
        self.runs: dict[UUID, RunState] = {}
        self.parameters: dict[UUID, dict[str, Any]] = {}
        self.created: list[str] = []
        self.most_in_flight = 0
        # What keeps every scheduled run from starting.
        self.hold: str | None = None

    async def open(self) -> None:
        """Does nothing."""

    async def close(self) -> None:
        """Does nothing."""

    def set_state(self, run: UUID, kind: str, name: str = "", message: str = "") -> None:
        """Bring a run into a state."""
        self.runs[run] = RunState(kind, name or kind.title(), message, kind in TERMINAL)
        self.most_in_flight = max(self.most_in_flight, len(self.alive()))

    def alive(self) -> list[UUID]:
        """Runs that have not ended."""
        return [run for run, state in self.runs.items() if not state.is_terminal]

    async def deployment_id(self, name: str) -> UUID:
        if self.is_away:
            raise PrefectUnavailableError("Prefect is away")
        if not self.knows_deployment:
            raise DeploymentNotFoundError(f"Prefect knows no deployment {name!r}")
        return UUID(int=1)

    def taken(self, name: str) -> frozenset[str]:
        return frozenset({"batch"}) if self.takes_batches else frozenset()

    async def create_run(
        self,
        name: str,
        *,
        parameters: dict[str, Any],
        key: str,
        run_name: str,
        tags: Sequence[str] = (),
        labels: dict[str, str] | None = None,
        job_variables: dict[str, Any] | None = None,
        work_queue: str | None = None,
    ) -> UUID:
        await self.deployment_id(name)
        if key not in self.keys:
            self.keys[key] = uuid4()
            # As tests write them: without the ledger's own part.
            self.created.append(key.partition("@")[0])
            self.parameters[self.keys[key]] = parameters
            self.set_state(self.keys[key], "SCHEDULED")
        if self.cuts:
            self.cuts -= 1
            raise PrefectUnavailableError("the answer was cut")
        return self.keys[key]

    async def states(self, runs: Sequence[UUID]) -> dict[UUID, RunState]:
        if self.is_away:
            raise PrefectUnavailableError("Prefect is away")
        return {run: self.runs[run] for run in runs if run in self.runs}

    async def hold_of(self, run: RunState) -> str | None:
        return self.hold

    async def stop_run(self, run: UUID, why: str, *, force: bool) -> None:
        if self.is_away:
            raise PrefectUnavailableError("Prefect is away")
        if run in self.runs:
            self.set_state(run, "CANCELLED" if force else "CANCELLING", message=why)

    async def conclude_run(self, run: UUID, why: str) -> None:
        if run in self.runs:
            self.set_state(run, "COMPLETED", message=why)


class FakeWarehouse:
    """The fence and what was published, with the real one's rules."""

    def __init__(self) -> None:
        self.is_away = False
        self.holder: dict[Partition, int] = {}
        self.revoked: set[int] = set()
        self.published: dict[int, dict[str, Any]] = {}
        self.silver: dict[Partition, tuple[tuple[str, str], ...]] = {}
        # Every publication in order: partition, generation, build.
        self.history: list[tuple[Partition, int, int]] = []

    def take(self, partition: Partition, build: int) -> bool:
        """Take the fence; False when a newer build holds it or this one was given up."""
        if self.holder.get(partition, 0) >= build:
            return False
        self.holder[partition] = build
        return True

    def publish(self, begun: BegunBuild, content: tuple[tuple[str, str], ...]) -> bool:
        """Commit silver; False when fenced."""
        if self.holder.get(begun.partition) != begun.id or begun.id in self.revoked:
            return False
        self.silver[begun.partition] = content
        self.published[begun.id] = {
            "rows_bronze": len(content),
            "rows_silver": len(content),
            "rows_rejected": 0,
            "loaded_at": clock.now(),
            "details": {},
        }
        self.history.append((begun.partition, begun.generation, begun.id))
        return True

    async def newest_build(self) -> int:
        """The highest build id that ever held a fence."""
        return max(self.holder.values(), default=0)

    async def revoke(self, partition: Partition, build_id: int) -> dict[str, Any] | None:
        if self.is_away:
            raise WarehouseUnavailableError("the warehouse is away")
        if self.holder.get(partition, 0) <= build_id:
            self.holder[partition] = build_id
            self.revoked.add(build_id)
        return self.published.get(build_id)


@dataclass
class FlowRun:
    """One flow run as a worker runs it, step by step; `hold` is its process.

    It may have several builds: `members` are those that it has not yielded, `begun` the first.
    """

    kit: LedgerHarness
    id: UUID
    key: str
    begun: BegunBuild | None = None
    members: list[BegunBuild] = field(default_factory=list[BegunBuild])
    content: dict[int, tuple[tuple[str, str], ...]] = field(
        default_factory=dict[int, tuple[tuple[str, str], ...]]
    )
    hold: psycopg.AsyncConnection[Any] | None = None
    # How far it is, for those that drive it step by step.
    stage: str = "taken"

    async def begin(self) -> bool:
        """Take the build up: ledger, sign of life, fence. False when there is nothing to do."""
        self.kit.prefect.set_state(self.id, "RUNNING")
        self.members = await self.kit.ledger.runs.begin(
            self.key, self.id, time_limit=self.kit.time_limit
        )
        if not self.members:
            self.kit.prefect.set_state(self.id, "COMPLETED", "NotNeeded")
            return False
        self.begun = self.members[0]
        self.hold = await psycopg.AsyncConnection.connect(self.kit.url, autocommit=True)
        for member in self.members:
            await self.hold.execute(
                "select pg_try_advisory_lock(%s, %s)", (BUILD_SPACE, member.id % 2**31)
            )
        self.members = [m for m in self.members if self.kit.warehouse.take(m.partition, m.id)]
        if not self.members:
            await self.end("COMPLETED", "Fenced")
            return False
        return True

    async def read(self) -> bool:
        """Read the manifests; False when each has an object that is no longer the listed one."""
        now = {key: o.etag for key, o in self.kit.bronze.objects.items()}
        for member in list(self.members):
            if any(now.get(file.key) != file.etag for file in member.manifest):
                await self.kit.ledger.runs.yield_build(member.id, "bronze changed")
                self.members.remove(member)
            self.content[member.id] = tuple((file.key, file.etag) for file in member.manifest)
        if not self.members:
            await self.end("COMPLETED", "Superseded")
        return bool(self.members)

    def commit(self) -> bool:
        """Publish in the warehouse; False when fenced."""
        done = [m for m in self.members if self.kit.warehouse.publish(m, self.content[m.id])]
        self.members = done or self.members
        return bool(done)

    async def mark(self) -> bool:
        """Tell the ledger."""
        marked = [
            await self.kit.ledger.runs.publish(m.id, **self.kit.warehouse.published[m.id])
            for m in self.members
        ]
        return any(marked)

    async def end(self, kind: str, name: str = "", message: str = "") -> None:
        """End the process and tell Prefect."""
        await self.die()
        self.kit.prefect.set_state(self.id, kind, name, message)

    async def die(self) -> None:
        """End the process without telling ledger or Prefect."""
        if self.hold is not None:
            # Let go before the end: the server needs a moment to notice a closed connection.
            await self.hold.execute("select pg_advisory_unlock_all()")
            await self.hold.close()
            self.hold = None

    async def fail(self, why: str) -> None:
        """Fail as a flow does: the ledger has the sentence, Prefect the state."""
        for member in self.members:
            await self.kit.ledger.runs.record_error(member.id, why)
        await self.end("FAILED", message=why)

    async def run(self) -> bool:
        """From begin to end without trouble; whether silver was published."""
        if not await self.begin() or not await self.read():
            return False
        done = self.commit()
        if done:
            await self.mark()
        await self.end("COMPLETED")
        return done


@dataclass
class LedgerHarness:
    """A ledger with its datasets, and everything around it."""

    url: str
    datasets: Datasets
    settings: Settings
    database: Database
    ledger: Ledger
    bronze: FakeBronze = field(default_factory=FakeBronze)
    prefect: FakePrefect = field(default_factory=FakePrefect)
    warehouse: FakeWarehouse = field(default_factory=FakeWarehouse)
    time_limit: timedelta = timedelta(minutes=30)
    flows: list[FlowRun] = field(default_factory=list["FlowRun"])

    @classmethod
    async def open(
        cls, url: str, *declared: Dataset, prefect: Any = None, **settings: Any
    ) -> LedgerHarness:
        """A kit on the ledger at `url`; `trips` is declared when nothing else is."""
        datasets = Datasets(datasets=declared or (dataset(),), path=Path("datasets.yaml"))
        database = Database(url, size=8)
        await database.open()
        ledger = Ledger(database, datasets)
        await ledger.upkeep.sync_datasets()
        settings_ = load_settings(**settings)
        return cls(url, datasets, settings_, database, ledger, prefect=prefect or FakePrefect())

    async def close(self) -> None:
        """End every flow and close the ledger."""
        for flow in self.flows:
            await flow.die()
        await self.database.close()

    def dispatcher(self, owner: str = "one") -> Dispatcher:
        """A dispatcher on this ledger."""
        return Dispatcher(self.settings, self.ledger, self.bronze, self.prefect, owner)

    def settler(self) -> Settler:
        """A settler on this ledger."""
        return Settler(self.settings, self.ledger, self.prefect, self.warehouse)

    def sweep(self) -> Sweep:
        """A sweep on this ledger."""
        return Sweep(self.settings, self.ledger, self.bronze)

    def key(self, dt: date = DT, file: str = "data.parquet", name: str = NAME) -> str:
        """An object's key."""
        return folder(self.datasets.get(name), dt) + file

    def arrival(
        self,
        dt: date = DT,
        etag: str | None = "a",
        *,
        file: str = "data.parquet",
        name: str = NAME,
        lane: Lane = "fast",
        sequencer: str | None = None,
        event: str = "ObjectCreated:Put",
        version: str | None = None,
    ) -> Arrival:
        """An event as the receiver hands it on."""
        told = ObjectEvent(
            name=event,
            bucket=BUCKET,
            key=self.key(dt, file, name),
            etag=etag,
            version_id=version,
            size=1,
            sequencer=sequencer or etag,
            event_at=clock.now(),
        )
        return arrive(told, self.datasets, lane, "127.0.0.1", clock.now())

    async def tell(self, *arrivals: Arrival) -> list[str]:
        """Record events; their reasons."""
        return await self.ledger.recording.record(arrivals)

    async def put(
        self,
        content: str,
        dt: date = DT,
        *,
        file: str = "data.parquet",
        name: str = NAME,
        sequencer: str | None = None,
    ) -> str:
        """Put an object and have its event recorded; the event's reason."""
        self.bronze.put(self.key(dt, file, name), content)
        event = self.arrival(dt, content, file=file, name=name, sequencer=sequencer)
        (reason,) = await self.tell(event)
        return reason

    async def row(self, dt: date = DT, name: str = NAME) -> Row:
        """A partition as the ledger shows it."""
        row = await self.ledger.views.partition(Partition.of_day(name, dt))
        assert row is not None, f"{name}/{dt} is not known"
        return row

    async def builds(self, dt: date = DT, name: str = NAME) -> list[Row]:
        """A partition's builds, oldest first."""
        return (await self.ledger.views.builds(Partition.of_day(name, dt), limit=1000))[::-1]

    async def reasons(self) -> list[str]:
        """The reasons of all events, in order."""
        return [event["reason"] for event in (await self.ledger.views.events(limit=1000))[::-1]]

    def take_runs(self) -> list[FlowRun]:
        """The runs that wait for a worker, as flow runs that have not begun."""
        names = {run: key for key, run in self.prefect.keys.items()}
        waiting = [r for r, s in self.prefect.runs.items() if s.type in ("SCHEDULED", "PENDING")]
        taken = [FlowRun(self, run, names[run]) for run in waiting]
        self.flows += taken
        return taken

    async def cycle(self, dispatcher: Dispatcher | None = None) -> list[bool]:
        """One round of everything: dispatch, run what was dispatched, settle."""
        await (dispatcher or self.dispatcher()).run_once()
        done = [await flow.run() for flow in self.take_runs()]
        await self.settler().run_once()
        return done

    async def fetch(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Rows of the ledger's database, past the ledger."""
        async with await psycopg.AsyncConnection.connect(self.url, autocommit=True) as connection:
            found = await connection.execute(cast("Any", statement), parameters)
            return await found.fetchall() if found.description else []


def at(seconds: float) -> datetime:
    """A moment so many seconds after the clock's."""
    return clock.now() + timedelta(seconds=seconds)


def days(count: int) -> list[date]:
    """So many dates, in order."""
    return [DT + timedelta(days=n) for n in range(count)]


async def together(*work: Any) -> list[Any]:
    """Run at once; results in order."""
    return await asyncio.gather(*work)
