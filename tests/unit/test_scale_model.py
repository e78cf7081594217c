"""The model behind ADR 9: it behaves as queues do, and says what the ADR says."""

from bench.scale_model import SETUPS, Setup, simulate, table
from tests.support.checkout import PROJECT


def test_the_adr_quotes_the_model() -> None:
    text = (PROJECT / "adr" / "0009-past-one-machine.md").read_text()
    lines = [line for line in table() if "10 | 100,000" in line and "12 MinIO" not in line]
    assert len(lines) == len(SETUPS) - 1
    assert [line for line in lines if line not in text] == []


def test_nothing_waits_on_an_idle_machine() -> None:
    day = simulate(Setup("small"), 1, 10)
    assert day.worst < 2
    assert day.keeps_up


def test_more_slots_never_make_it_slower() -> None:
    worst = [simulate(Setup("s", slots=n), 10, 20_000).worst for n in (2, 4, 8, 16)]
    assert worst == sorted(worst, reverse=True)


def test_past_a_stage_it_falls_behind() -> None:
    assert not simulate(Setup("one"), 1_000, 10).keeps_up
    assert simulate(Setup("two", minio=2), 1_000, 10).keeps_up
