"""What the command line shows of what others wrote, and what it completes."""

import os
import subprocess
import sys
from io import StringIO
from pathlib import Path
from typing import Any

from rich.console import Console, RenderableType

from quicksilver.cli.status import status_table
from quicksilver.cli.tables import events_table
from tests.support.checkout import PROJECT

_HOSTILE = "dt=2024-01-01/\x1b]0;title\x07\x1b[2J\u202e[red]x.parquet"
_PARTITION: dict[str, Any] = {
    "dataset": "shop.orders",
    "partition": "2024-01-01",
    "state": "failed",
    "detail": "failed",
    "generation": 2,
    "built_generation": 1,
    "rows_silver": 9_931,
    "rows_rejected": 69,
    "error": _HOSTILE,
    "wait_reason": None,
    "gone_at": None,
}


def printed(shown: RenderableType) -> str:
    """What a terminal gets."""
    out = StringIO()
    Console(file=out, width=250, force_terminal=True, color_system=None).print(shown)
    return out.getvalue()


def test_a_hostile_key_commands_no_terminal() -> None:
    event = {
        "received_at": "2024-01-01T00:00:00Z",
        "event_name": "ObjectCreated:Put\x1b[31m",
        "key": _HOSTILE,
        "generation": 2,
        "reason": "fired",
        "deliveries": 2,
        "fast_at": None,
        "durable_at": None,
        "source": "sweep",
    }
    for text in (printed(events_table([event])), printed(_status([_PARTITION]))):
        assert not set("\x1b\x07\u202e") & set(text)
        assert "\\x1b]0;title\\x07\\x1b[2J\\u202e[red]x.parquet" in text


def test_the_counts_stand_first_and_say_what_is_not_shown() -> None:
    text = printed(_status([_PARTITION]))
    assert text.splitlines()[0].strip() == "2 failed, 7 built"
    assert "1 of them are shown: see --limit" in text


def _status(partitions: list[dict[str, Any]]) -> RenderableType:
    counts = [
        {"dataset": "shop.orders", "state": "built", "partitions": 7},
        {"dataset": "shop.orders", "state": "failed", "partitions": 1},
        {"dataset": "shop.returns", "state": "failed", "partitions": 1},
    ]
    return status_table({"partitions": partitions, "counts": counts, "found": 9, "next": None})


def test_the_shell_completes_a_datasets_name() -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name("quicksilver")],
        env={
            **os.environ,
            "_QUICKSILVER_COMPLETE": "complete_bash",
            "COMP_WORDS": "quicksilver pause nyc",
            "COMP_CWORD": "2",
        },
        cwd=PROJECT,
        capture_output=True,
        text=True,
    )
    assert "nyc_tlc.yellow_tripdata" in done.stdout.split()
