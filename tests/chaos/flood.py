"""A receiver that is down while thousands of objects land; a queue that overflows."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from threading import Lock

import psutil

from quicksilver.stack.orchestrator import service_program
from tests.chaos.stage import PREFIX, ChaosStage

Check = tuple[str, bool, str]

# Keys that the lanes tell of and no partition takes: a date that does not exist.
_BULK = f"{PREFIX}/dt=2024-02-31"
# Authentic, and as awkward as a key can be: what stands first in the queue must not block it.
_POISON = f"{PREFIX}/dt=2024-13-45/%zz+ %2F\u202e\U0001f980\u00e9.parquet"


def _events(stage: ChaosStage) -> int:
    statement = "select count(*) from quicksilver.event where key like %s"
    return int(stage.ledger(statement, f"{_BULK}/%")[0][0])


def _put_bulk(stage: ChaosStage, count: int, *, at_half: str = "") -> None:
    """Put so many small objects, eight at a time; half-way, kill a part of the stack."""
    lock, done = Lock(), [0]

    def put(number: int) -> None:
        stage.put_object(f"{_BULK}/{number}.parquet", b"%d" % number)
        with lock:
            done[0] += 1
            if done[0] == count // 2 and at_half:
                psutil.Process(stage.stack.supervisor.status(at_half).pid).kill()
                stage.say(f"{at_half} killed after {done[0]} objects")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(put, range(count)))


def _await_events(stage: ChaosStage, wanted: int, within: float, *, still_for: float = 30.0) -> int:
    """Until so many events came, or none has come for a while."""
    deadline = time.monotonic() + within
    last, since = -1, time.monotonic()
    while time.monotonic() < deadline:
        now = _events(stage)
        if now >= wanted:
            return now
        if now != last:
            last, since = now, time.monotonic()
        elif time.monotonic() - since > still_for:
            return now
        time.sleep(0.5)
    return _events(stage)


def run_flood(stage: ChaosStage, *, objects: int = 10_000) -> list[Check]:
    """The receiver is down, a poison event comes first, MinIO is killed half-way."""
    stage.stack.supervisor.stop_program("service")
    stage.put_object(_POISON, b"poison")
    began = time.monotonic()
    _put_bulk(stage, objects, at_half="minio")
    for number, dt in enumerate(stage.versions):
        stage.put(dt, number)
    stage.say(f"{objects} objects landed in {time.monotonic() - began:.0f} s, nobody listening")
    _start(stage)
    began = time.monotonic()
    came = _await_events(stage, objects, 900)
    seconds = time.monotonic() - began
    well = stage.await_built(300)
    poison = stage.ledger("select reason from quicksilver.event where key = %s", _POISON)
    # What MinIO had acknowledged and not queued yet when it was killed is the sweep's to find: it
    # queues on the side of its answers, the further behind the busier the machine.
    lost = objects - came
    note = (
        f"{objects} put, {came} came by the durable lane in {seconds:.0f} s, {lost} lost in the"
        f" kill, poison: {poison[0][0] if poison else 'not told of'}; partitions well {well:.1f} s"
        " later"
    )
    is_good = lost <= objects // 100 and bool(poison)
    return [("receiver down, poison first, MinIO killed", is_good, note)]


def run_overflow(stage: ChaosStage, *, objects: int = 2000) -> list[Check]:
    """The durable queue holds 500: what lands after that no event tells of."""
    stage.stack.supervisor.stop_program("service")
    _put_bulk(stage, objects)
    for number, dt in enumerate(stage.versions):
        stage.put(dt, number)
    _start(stage)
    came = _await_events(stage, objects, 300)
    well = stage.await_built(300)
    found = dict(stage.ledger("select name, value from quicksilver.counter"))
    swept = int(found.get("sweep_found", 0))
    note = (
        f"{objects + len(stage.versions)} put, queue of 500, {came} bulk events came; {swept} of"
        f" {len(stage.versions)} partitions found by the sweep alone, all built {well:.1f} s after"
        " the last event"
    )
    return [("durable queue overflown", came < objects and swept > 0, note)]


def _start(stage: ChaosStage) -> None:
    program = service_program(stage.stack.home)
    stage.stack.supervisor.start(program)
    stage.stack.supervisor.await_ready(program)
