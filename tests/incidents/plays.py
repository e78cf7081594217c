"""The incidents: how each is made, what must be said of it where, and how it is mended."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta

from tests.incidents.stage import TINY, Stage, mostly_refused, tiny
from tests.support.full_stack import BUCKET, DATASET
from tests.support.waiting import until

_KEY = "bronze/nyc_tlc/yellow_tripdata/dt={}/data.parquet"
_BAD = [date(2023, 1, 1) + timedelta(days=number) for number in range(40)]

Do = Callable[[Stage], object]


@dataclass(frozen=True)
class Play:
    """An incident; each of `page` and `status` is where to look, and what must stand there.

    The words are regular expressions; None: this one is not asked. `never` must not be said by
    the page or `status` once the right words are there. `messages` is how many people get at most.
    """

    name: str
    strike: Do
    mend: Do
    page: tuple[str, str]
    status: tuple[tuple[str, ...], str]
    doctor: str | None = None
    message: str | None = None
    before: Do | None = None
    messages: int = 1


def _part(name: str, program: str, words: str, *, doctor: str | None = None) -> Play:
    """A part of the stack is stopped, and started again."""
    return Play(
        f"{name} stopped",
        strike=lambda stage: stage.stop(program),
        mend=lambda stage: stage.start(program),
        page=("/", words),
        status=(("status",), words),
        doctor=doctor or words,
        message=words,
        messages=3,
    )


def _built(dt: str, generation: int = 1) -> Callable[[Stage], object]:
    def wait(stage: Stage) -> object:
        return until(
            lambda: stage.full.partition(dt).get("built_generation", 0) >= generation,
            f"{dt} in silver",
            within=180,
        )

    return wait


def _land(dt: str) -> Do:
    def land(stage: Stage) -> object:
        stage.full.put_month(*(int(part) for part in dt.split("-")[:2]))
        return _built(dt)(stage)

    return land


def _show(dt: str, dataset: str = DATASET) -> tuple[str, ...]:
    return "show", dataset, dt


def _at(dt: str, dataset: str = DATASET) -> str:
    return f"/partitions/{dataset}/{dt}"


def _bad_files(stage: Stage) -> None:
    for dt in _BAD:
        stage.put(f"ux/tiny/dt={dt}/data.parquet", tiny(("other",)))


def _good_files(stage: Stage) -> None:
    for dt in _BAD:
        stage.put(f"ux/tiny/dt={dt}/data.parquet", tiny())
    until(
        lambda: not stage.full.ledger("select from quicksilver.partition where state <> 'built'"),
        "all of them",
        within=300,
    )


def _cut_lanes(stage: Stage) -> None:
    stage.full.minio.delete_bucket_notification(BUCKET)


def _pause(stage: Stage) -> None:
    stage.full.call("POST", f"/api/datasets/{DATASET}/pause").raise_for_status()
    stage.full.put_month(2022, 5)


def _resume(stage: Stage) -> None:
    stage.full.call("POST", f"/api/datasets/{DATASET}/resume").raise_for_status()
    _built("2022-05-01")(stage)


def _fail(stage: Stage) -> None:
    stage.put(_KEY.format("2022-06-01"), b"no parquet")
    until(lambda: stage.full.partition("2022-06-01").get("state") == "failed", "it", within=120)
    until(
        lambda: stage.full.ledger(
            "select from quicksilver.build where partition = '2022-06-01'"
            " and finished_at is not null"
        ),
        "the end of its run",
    )


def _retry(stage: Stage) -> None:
    (build,) = stage.full.ledger(
        "select flow_run_id from quicksilver.build where partition = '2022-06-01'"
    )
    state = {"type": "SCHEDULED", "name": "AwaitingRetry"}
    run = f"/flow_runs/{build['flow_run_id']}/set_state"
    stage.full.prefect("POST", run, {"state": state, "force": True})


def _nothing(_: Stage) -> None:
    return


PLAYS = (
    _part("worker", "worker", r"no worker asked for runs"),
    _part(
        "Prefect", "prefect", r"(?i)does not answer.*builds wait for it|prefect.*does not answer"
    ),
    _part("MinIO", "minio", r"(?i)does not answer.*nothing can land|minio.*does not answer"),
    _part(
        "Postgres",
        "postgres",
        r"(?i)ledger('s Postgres)? (is away|does not answer|cannot be reached)|ledger.*no answer",
    ),
    _part(
        "engine",
        "engine",
        r"(?i)warm engine does not answer",
        doctor=r"(?i)engine.*broken|broken.*engine",
    ),
    Play(
        "lanes cut",
        strike=_cut_lanes,
        mend=lambda stage: stage.command("init"),
        page=("/", r"silent in bucket"),
        status=(("status",), r"silent"),
        doctor=r"(?i)broken.*(lanes|reach|canary)",
        message=r"(?i)lane.*(silent|notification)",
        messages=2,
    ),
    Play(
        "40 bad files",
        strike=_bad_files,
        mend=_good_files,
        page=("/", rf"\d+ partitions of {TINY} failed: .*\bid\b"),
        status=(("status",), rf"\d+ partitions of {TINY} failed: .*\bid\b"),
        message=rf"\d+ partitions of {TINY} failed: .*\bid\b",
    ),
    Play(
        "97.5 % rejected",
        strike=lambda stage: stage.put(_KEY.format("2022-03-01"), mostly_refused(2022, 3)),
        mend=_nothing,
        page=(_at("2022-03-01"), r"9\d(\.\d)? ?% of its rows were rejected"),
        status=(_show("2022-03-01"), r"9\d(\.\d)? ?% of its rows were rejected"),
    ),
    Play(
        "a deletion",
        before=_land("2022-04-01"),
        strike=lambda stage: stage.remove(_KEY.format("2022-04-01")),
        mend=_nothing,
        page=(_at("2022-04-01"), r"Bronze has held no object of it since"),
        status=(_show("2022-04-01"), r"Bronze has held no object of it since"),
    ),
    Play(
        "an impossible date",
        strike=lambda stage: stage.put(_KEY.format("2024-13-45"), b"x"),
        mend=lambda stage: stage.remove(_KEY.format("2024-13-45")),
        page=("/delivery", r"1 object that matches no partition"),
        status=(("status", "--proof"), r"1 objects? that match(es)? no partition"),
    ),
    Play(
        "no model reads it",
        strike=lambda stage: stage.put("ux/tiny/dt=2023-06-01/data.parquet", tiny()),
        mend=_nothing,
        page=(_at("2023-06-01", TINY), r"bronze only"),
        status=(_show("2023-06-01", TINY), r"no model reads"),
    ),
    Play(
        "paused",
        strike=_pause,
        mend=_resume,
        page=(_at("2022-05-01"), r"Its dataset is paused"),
        status=(_show("2022-05-01"), r"dataset is paused"),
    ),
    Play(
        "Prefect's Retry",
        before=_fail,
        strike=_retry,
        mend=lambda stage: stage.full.put_month(2022, 6),
        page=(_at("2022-06-01"), r"rebuild requested by Retry in Prefect"),
        status=(_show("2022-06-01"), r"(?i)failed: .*data\.parquet"),
        message=r"2022-06-01 failed",
        messages=2,
    ),
)
