"""This host: free disk space, and its clock compared with Postgres' own."""

import asyncio
import shutil
from datetime import datetime
from pathlib import Path

import psycopg

from quicksilver.operators.doctor.check import ANSWER_WITHIN, BrokenError, Probe, first_line
from quicksilver.support import clock

# A stack's databases, logs and scratch files need spare room; below this, writes begin to fail.
_LEAST_FREE = 1_000_000_000
_LEAST_SHARE = 0.03

# Ages on the page, signed requests and Prefect's lateness are wrong by this difference.
_MOST_APART = 5.0


async def check_disk(probe: Probe) -> str:
    home = probe.settings.home.absolute()
    folder = next(path for path in (home, *home.parents) if path.is_dir())
    usage = await asyncio.to_thread(shutil.disk_usage, folder)
    said = f"{usage.free / 1e9:.1f} GB of {usage.total / 1e9:.0f} GB free at {folder}"
    if usage.free < _LEAST_FREE or usage.free / usage.total < _LEAST_SHARE:
        raise BrokenError(said, f"make room: see what `du -xh {Path(folder)} | sort -h` ends with")
    return said


async def check_clock(probe: Probe) -> str:
    url = probe.settings.database_url.get_secret_value()
    try:
        async with await psycopg.AsyncConnection.connect(
            url, connect_timeout=ANSWER_WITHIN
        ) as connection:
            before = clock.now()
            row = await (await connection.execute("select clock_timestamp()")).fetchone()
            after = clock.now()
    except psycopg.Error as error:
        raise BrokenError(first_line(error), "see `ledger` above") from error
    theirs: datetime = row[0] if row else after
    apart = abs((theirs - (before + (after - before) / 2)).total_seconds())
    if apart > _MOST_APART:
        raise BrokenError(
            f"this host and Postgres' host are {apart:.0f} s apart",
            "have both hosts keep their clocks by NTP",
        )
    return f"{apart * 1000:.0f} ms from Postgres'"
