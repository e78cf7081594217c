"""A model of the ledger: whatever happens in whatever order, silver ends at bronze's newest.

Real Postgres, real ledger, dispatchers, settlers and sweep; bronze, Prefect and the warehouse are
in memory. Hypothesis picks events, duplicates, stale events, crashes at every step of a build and
of its dispatch, expiries, late completions, pauses and rebuilds; after each step what must always
hold is checked, and at the end, with everybody well again, what must come of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Coroutine, Iterator
from datetime import date, timedelta
from typing import Any, ClassVar, TypeVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from quicksilver.domain.arrival import Arrival
from quicksilver.domain.partition import Partition
from quicksilver.errors import PrefectUnavailableError, QuicksilverError
from quicksilver.ledger import ClaimedBuild, SealedBuild
from quicksilver.support import clock
from tests.support.ledger_harness import BUCKET, NAME, FlowRun, LedgerHarness, dataset, days

CHAOS = bool(os.environ.get("CHAOS"))
EXAMPLES = int(os.environ.get("CHAOS_EXAMPLES") or (500 if CHAOS else 12))
DTS = days(3)
OWNERS = ("one", "two")
LEASE = timedelta(seconds=30)
# Beyond any backoff, lease, deadline and time limit that a step could have left behind.
LONG = timedelta(hours=1)

# How far a run may have come.
STAGES = ["taken", "begun", "read", "committed", "marked"]

T = TypeVar("T")

dts = st.sampled_from(DTS)
owners = st.sampled_from(OWNERS)
files = st.sampled_from(["data.parquet", "more.parquet"])
numbers = st.integers(0, 7)


class LedgerMachine(RuleBasedStateMachine):
    """One ledger, two dispatchers, and a world that misbehaves."""

    url: ClassVar[str]
    runner: ClassVar[asyncio.Runner]

    def __init__(self) -> None:
        super().__init__()
        self.versions = 0
        self.told: list[Arrival] = []
        # Put and not told of yet: its event may come late, or never.
        self.untold: list[Arrival] = []
        self.generations: dict[date, tuple[int, int]] = {}
        # Partitions where a crash, a cancel or a rebuild explains a second build of a generation.
        self.excused: set[tuple[date, int]] = set()
        self.kit: LedgerHarness

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        """Run to its end."""
        return self.runner.run(work)

    @initialize(has_batches=st.booleans())
    def start(self, has_batches: bool) -> None:
        self.do(self._start(has_batches))

    async def _start(self, has_batches: bool) -> None:
        clock.reset()
        self.kit = await LedgerHarness.open(
            self.url,
            dataset(attempts=100, max_partitions_per_run=2, when_gone="remove"),
            max_running=2,
        )
        self.kit.prefect.takes_batches = has_batches
        await self.kit.fetch(
            "truncate quicksilver.partition, quicksilver.object, quicksilver.event,"
            " quicksilver.build, quicksilver.dispatcher, quicksilver.sweep restart identity cascade"
        )
        await self.kit.ledger.operators.resume(NAME)
        self.dispatchers = {owner: self.kit.dispatcher(owner) for owner in OWNERS}
        self.settler = self.kit.settler()

    def teardown(self) -> None:
        if hasattr(self, "kit"):
            try:
                self.do(self._drain())
                self._check_end()
            finally:
                self.do(self.kit.close())
                clock.reset()

    # What lands.

    @rule(dt=dts, file=files, is_told=st.booleans())
    def put(self, dt: date, file: str, is_told: bool) -> None:
        self.versions += 1
        self.kit.bronze.put(self.kit.key(dt, file), f"v{self.versions}")
        event = self.kit.arrival(dt, f"v{self.versions}", file=file)
        if is_told:
            self._tell(event)
        else:
            self.untold.append(event)

    @precondition(lambda self: self.untold)
    @rule(number=numbers)
    def late_event(self, number: int) -> None:
        self._tell(self.untold.pop(number % len(self.untold)))

    @precondition(lambda self: self.told)
    @rule(number=numbers)
    def duplicate(self, number: int) -> None:
        event = self.told[-1 - number % len(self.told)]
        is_kept = self.do(self._is_kept(event))
        reasons = self.do(self.kit.tell(event))
        # Pruned, it is new again: it may raise the generation, whose listing then is unchanged.
        assert reasons == ["duplicate"] or not is_kept

    async def _is_kept(self, event: Arrival) -> bool:
        rows = await self.kit.fetch("select identity from quicksilver.event")
        return event.identity in {bytes(identity) for (identity,) in rows}

    @precondition(lambda self: self.kit.bronze.objects)
    @rule(number=numbers)
    def delete(self, number: int) -> None:
        keys = sorted(self.kit.bronze.objects)
        del self.kit.bronze.objects[keys[number % len(keys)]]

    def _tell(self, event: Arrival) -> None:
        self.do(self.kit.tell(event))
        self.told.append(event)

    @rule()
    def sweep(self) -> None:
        self.do(self.kit.sweep().run_once())

    # What the service does, and where it dies.

    @rule(owner=owners)
    def dispatch(self, owner: str) -> None:
        self.do(self.dispatchers[owner].run_once())

    @rule()
    def both_dispatch_at_once(self) -> None:
        async def both() -> None:
            await asyncio.gather(*(d.run_once() for d in self.dispatchers.values()))

        self.do(both())

    @rule(owner=owners)
    def dispatcher_dies_after_claim(self, owner: str) -> None:
        self.do(self._claim(owner))
        self._restart(owner)

    @rule(owner=owners, is_created=st.booleans())
    def dispatcher_dies_after_seal(self, owner: str, is_created: bool) -> None:
        self.do(self._claim_and_seal(owner, is_created=is_created))
        self._restart(owner)

    async def _claim(self, owner: str) -> list[ClaimedBuild]:
        batches = {NAME: 2} if self.kit.prefect.takes_batches else {}
        return await self.kit.ledger.claims.claim(owner, slots=2, lease=LEASE, batches=batches)

    async def _claim_and_seal(self, owner: str, *, is_created: bool) -> None:
        keys: list[str] = []
        for claim in await self._claim(owner):
            folder = f"{NAME}/dt={claim.partition.dt}/"
            listing = await self.kit.bronze.list_folder(BUCKET, folder)
            sealed = await self.kit.ledger.sealing.seal(claim, owner, listing, claim.generation)
            if isinstance(sealed, SealedBuild):
                keys.append(sealed.run_key or sealed.idempotency_key)
        for key in keys if is_created else []:
            with contextlib.suppress(PrefectUnavailableError):
                await self.kit.prefect.create_run("", parameters={}, key=key, run_name="")

    def _restart(self, owner: str) -> None:
        # A process that starts again has another name, as the real ones have.
        self.dispatchers[owner] = self.kit.dispatcher(f"{owner}-{self.versions}-{id(object())}")

    @rule()
    def settle(self) -> None:
        self.do(self._settle())

    async def _settle(self) -> None:
        try:
            await self.settler.run_once()
        except QuicksilverError:
            # Prefect or the warehouse is away in this world, and is asked again.
            return

    # What runs do, and where they die.

    def _flow(self, number: int, *stages: str) -> FlowRun | None:
        found = [flow for flow in self.kit.flows if flow.stage in stages]
        return found[number % len(found)] if found else None

    @rule()
    def worker_takes_runs(self) -> None:
        for flow in self.kit.take_runs():
            self.kit.prefect.set_state(flow.id, "PENDING", "Submitting")

    @rule(number=numbers)
    def run_whole(self, number: int) -> None:
        self.worker_takes_runs()
        if flow := self._flow(number, "taken"):
            self.do(self._carry_on(flow, "ended"))

    @rule(number=numbers, upto=st.sampled_from([*STAGES[1:], "ended"]))
    def run_on(self, number: int, upto: str) -> None:
        if flow := self._flow(number, *STAGES):
            self.do(self._carry_on(flow, upto))

    async def _carry_on(self, flow: FlowRun, upto: str) -> None:
        """Bring a run to a stage, as far as it gets."""
        order = [*STAGES, "ended"]
        state = self.kit.prefect.runs.get(flow.id)
        if flow.stage == "taken" and (state is None or state.is_terminal):
            # Cancelled or deleted before it began: the worker starts no process.
            await self._end(flow)
            return
        while order.index(flow.stage) < order.index(upto):
            match flow.stage:
                case "taken":
                    if not await flow.begin():
                        flow.stage = "ended"
                        return
                    flow.stage = "begun"
                case "begun":
                    if not await flow.read():
                        flow.stage = "ended"
                        return
                    flow.stage = "read"
                case "read":
                    if not flow.commit():
                        await self._end(flow, "COMPLETED")
                        return
                    flow.stage = "committed"
                case "committed":
                    await flow.mark()
                    flow.stage = "marked"
                case _:
                    await self._end(flow, "COMPLETED")
                    return

    async def _end(self, flow: FlowRun, kind: str = "") -> None:
        flow.stage = "ended"
        await flow.die()
        state = self.kit.prefect.runs.get(flow.id)
        if kind and state is not None and not state.is_terminal:
            self.kit.prefect.set_state(flow.id, kind)

    @rule(dt=dts, owner=owners, upto=st.sampled_from(STAGES), is_seen=st.booleans())
    def lands_and_dies(self, dt: date, owner: str, upto: str, is_seen: bool) -> None:
        """The whole way at once, up to a death: no dice have to fall right for it."""
        self.put(dt, "data.parquet", True)
        self.dispatch(owner)
        self.worker_takes_runs()
        taken = [
            flow
            for flow in self.kit.flows
            if flow.stage == "taken" and dt in [dt for dt, _ in self._builds_of(flow)]
        ]
        for flow in taken[-1:]:
            self.do(self._carry_on(flow, upto))
            self._excuse(flow)
            if flow.stage != "ended":
                self.do(self._end(flow, "CRASHED" if is_seen else ""))

    @rule(number=numbers, is_seen=st.booleans())
    def process_dies(self, number: int, is_seen: bool) -> None:
        """kill -9 of a run at any stage; its worker sees it, or died as well."""
        if flow := self._flow(number, *STAGES):
            self._excuse(flow)
            self.do(self._end(flow, "CRASHED" if is_seen else ""))

    @rule(number=numbers)
    def process_fails(self, number: int) -> None:
        if flow := self._flow(number, "begun", "read"):
            self._excuse(flow)
            self.do(flow.fail("broken"))
            flow.stage = "ended"

    @rule(number=numbers)
    def process_loses_its_ledger(self, number: int) -> None:
        """It is taken for dead and lives on: a zombie."""
        if flow := self._flow(number, "begun", "read", "committed"):
            self._excuse(flow)
            self.do(flow.die())

    @rule(number=numbers)
    def run_is_deleted(self, number: int) -> None:
        if flow := self._flow(number, *STAGES):
            self._excuse(flow)
            self.kit.prefect.runs.pop(flow.id, None)

    def _excuse(self, flow: FlowRun) -> None:
        self.excused.update(self._builds_of(flow))

    def _builds_of(self, flow: FlowRun) -> list[tuple[Any, ...]]:
        """Partition and generation of each build that a run is for."""
        return self.do(
            self.kit.fetch(
                "select partition::date, generation from quicksilver.build"
                " where run_key = %s or (run_key is null and idempotency_key = %s)",
                flow.key,
                flow.key,
            )
        )

    # What else happens.

    @rule(seconds=st.sampled_from([1, 6, 31, 130, 2000]))
    def time_passes(self, seconds: int) -> None:
        if seconds > 100:
            # Past the deadlines: whatever is under way now may be replaced.
            for flow in self.kit.flows:
                self._excuse(flow)
        clock.advance(timedelta(seconds=seconds))

    @rule(dt=dts)
    def rebuild(self, dt: date) -> None:
        self.do(self.kit.ledger.recording.rebuild([Partition.of_day(NAME, dt)]))

    @rule(is_paused=st.booleans())
    def pause(self, is_paused: bool) -> None:
        ledger = self.kit.ledger
        self.do(ledger.operators.pause(NAME, "me") if is_paused else ledger.operators.resume(NAME))

    @rule(is_away=st.booleans())
    def prefect_away(self, is_away: bool) -> None:
        self.kit.prefect.is_away = is_away

    @rule(is_away=st.booleans())
    def warehouse_away(self, is_away: bool) -> None:
        self.kit.warehouse.is_away = is_away

    @rule()
    def answers_are_cut(self) -> None:
        self.kit.prefect.cuts = 1

    @rule()
    def prune(self) -> None:
        self.do(self.kit.ledger.upkeep.prune(keep=LONG))

    # What must always hold.

    @invariant()
    def always(self) -> None:
        if hasattr(self, "kit"):
            self.do(self._always())

    async def _always(self) -> None:
        rows = await self.kit.fetch(
            "select dt, generation, built_generation, state, dirty_since"
            " from quicksilver.partition where generation > 0"
        )
        for dt, generation, built, state, dirty_since in rows:
            before = self.generations.get(dt, (0, 0))
            assert generation >= before[0], "a generation never lowers"
            assert before[1] <= built <= generation
            self.generations[dt] = (generation, built)
            assert (state == "built") == (built == generation and state != "running")
            assert dirty_since is not None or built == generation or state == "waiting"
        active = await self.kit.fetch(
            "select partition, count(*) from quicksilver.build where state in"
            " ('claimed', 'dispatched', 'running', 'published', 'yielded') group by partition"
        )
        assert all(count == 1 for _, count in active), "one build of a partition at a time"
        limbo = await self.kit.fetch(
            "select p.partition from quicksilver.partition as p where p.state = 'running'"
            " and not exists (select from quicksilver.build as b"
            " where b.partition = p.partition and b.state in"
            " ('claimed', 'dispatched', 'running', 'published', 'yielded'))"
        )
        assert limbo == [], "a partition that runs has a build"
        # In the warehouse generations only rise too, whatever zombies try.
        newest: dict[Partition, int] = {}
        for partition, generation, _ in self.kit.warehouse.history:
            assert generation >= newest.get(partition, 0)
            newest[partition] = generation

    # And what must come of it.

    async def _drain(self) -> None:
        kit = self.kit
        kit.prefect.is_away = kit.warehouse.is_away = False
        kit.prefect.cuts = 0
        await kit.ledger.operators.resume(NAME)
        await kit.tell(*self.untold)
        rows: list[Any] = []
        builds: list[Any] = []
        for _ in range(60):
            await kit.sweep().run_once()
            for dispatcher in self.dispatchers.values():
                await dispatcher.run_once()
            kit.take_runs()
            for flow in kit.flows:
                if flow.stage != "ended":
                    await self._carry_on(flow, "ended")
            await self._settle()
            await self._settle()
            rows = await kit.ledger.views.partitions(limit=100)
            builds = await kit.ledger.settlement.active_builds()
            states = {(row["state"], row["gone_at"] is not None) for row in rows}
            if not builds and states <= {("built", False), ("built", True), ("waiting", True)}:
                return
            # Runs that nobody will ever end, claims of the dead, backoff: time brings them on.
            clock.advance(LONG)
            for owner in OWNERS:
                self._restart(owner)
        raise AssertionError(f"stuck: {rows} {builds}")

    def _check_end(self) -> None:
        kit = self.kit
        for dt in DTS:
            content = tuple(
                sorted((k, o.etag) for k, o in kit.bronze.objects.items() if f"dt={dt}/" in k)
            )
            assert kit.warehouse.silver.get(Partition.of_day(NAME, dt), ()) == content, (
                "silver is bronze"
            )
        twice = [
            (p.dt, g)
            for n, (p, g, _) in enumerate(kit.warehouse.history)
            if any((p, g) == (q, h) for q, h, _ in kit.warehouse.history[:n])
        ]
        assert set(twice) <= self.excused, "a generation is built twice after a crash only"
        undecided = {"settling", "paused"} & set(self.do(kit.reasons()))
        assert not undecided, "every event has its reason"


@pytest.fixture
def machine(ledger_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[LedgerMachine]]:
    # Three partitions are a backlog here.
    monkeypatch.setattr("quicksilver.ledger.turns.BACKLOG", 1)
    name = ledger_url.rpartition("/")[2]
    with asyncio.Runner() as runner:
        LedgerMachine.url, LedgerMachine.runner = ledger_url, runner

        async def relax() -> None:
            # No crash of Postgres in this test: fsync would only cost time.
            kit = await LedgerHarness.open(ledger_url)
            await kit.fetch(f'alter database "{name}" set synchronous_commit = off')
            await kit.close()

        runner.run(relax())
        yield LedgerMachine


@pytest.mark.timeout(7200 if CHAOS else 300)
def test_whatever_happens_silver_ends_at_bronze(machine: type[LedgerMachine]) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=50 if CHAOS else 30,
            deadline=None,
            derandomize=not CHAOS,
            database=None,
            phases=[Phase.generate, Phase.shrink],
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
        ),
    )
