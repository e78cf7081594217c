"""Sessions of the warehouse: what each is called, and how long it may wait."""

from datetime import timedelta
from typing import Any

import psycopg
from psycopg.rows import DictRow

from quicksilver.domain.partition import Partition
from quicksilver.support.postgres import conninfo

# Two processes may prepare the warehouse, or add a column, at once: they take turns.
DDL_LOCK = 0x51_53_44_4C

Connection = psycopg.AsyncConnection[DictRow]

# The service's queries are short: a longer one is blocked by a lock, and is tried again later.
SERVICE_OPTIONS = ("-c lock_timeout=5s", "-c statement_timeout=30s")


def build_options(time_limit: timedelta) -> tuple[str, ...]:
    """Settings of a build's own session: it waits briefly for locks, in any one statement no longer
    than the whole build may take, and ends soon after its process has."""
    return (
        # Short, because every session that asks for the lock after it queues behind it.
        "-c lock_timeout=2s",
        f"-c statement_timeout={int(time_limit.total_seconds() * 1000)}",
        "-c client_connection_check_interval=5s",
    )


def scratch_options(time_limit: timedelta) -> tuple[str, ...]:
    """Settings of a session that writes scratch tables only.

    A crash may lose their writes without harm: the publish waits for the disk, and with that for
    everything before it. A full month sorts and hashes millions of rows; the default of 4 MB
    would send all of them through temporary files.
    """
    return (*build_options(time_limit), "-c synchronous_commit=off", "-c work_mem=64MB")


def key_of(partition: Partition) -> dict[str, Any]:
    """How statements name a partition."""
    return {
        "dataset": partition.dataset,
        "partition": partition.name,
        "dt": partition.day,
    }


def application_name(build_id: int | str) -> str:
    """How every session of a build calls itself, so that a dead build's can be ended."""
    return f"quicksilver build {build_id}"


def scratch_url(url: str, build_id: int | str, time_limit: timedelta) -> str:
    """The warehouse's URL for a session of a build that writes scratch tables."""
    return conninfo(url, *scratch_options(time_limit), application_name=application_name(build_id))
