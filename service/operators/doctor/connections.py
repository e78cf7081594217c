"""Connections to Postgres: the limit, their owners, and whether each has its own session."""

from dataclasses import dataclass

import psycopg

from quicksilver.operators.doctor.check import BrokenError, Probe, first_line
from quicksilver.support.postgres import conninfo

_ANSWER_WITHIN = 5

# At most, for one service process: its pool and listener; eight settlements at once, each with a
# query for what blocks it, beside alignment, proof and health.
SERVICE_LEDGER = 9
SERVICE_WAREHOUSE = 19

# At most, for one run: a pool of two and the session that holds its builds; in the warehouse its
# own session and dbt's: one for each of two threads, and one more.
BUILD_LEDGER = 3
BUILD_WAREHOUSE = 4


@dataclass(frozen=True, slots=True)
class _Server:
    """A Postgres server behind one of our URLs; `name` tells two of them apart."""

    name: str
    limit: int
    others: int


async def check_connections(probe: Probe) -> str:
    settings = probe.settings
    urls = {
        "QUICKSILVER_DATABASE_URL": (settings.database_url, SERVICE_LEDGER, BUILD_LEDGER),
        "QUICKSILVER_WAREHOUSE_URL": (settings.warehouse_url, SERVICE_WAREHOUSE, BUILD_WAREHOUSE),
    }
    needed: dict[str, int] = {}
    per_build: dict[str, int] = {}
    servers: dict[str, _Server] = {}
    for setting, (url, of_service, of_build) in urls.items():
        if not url.get_secret_value():
            # The project has no dataset that becomes a table.
            continue
        server = await _look(setting, url.get_secret_value())
        servers[server.name] = server
        per_build[server.name] = per_build.get(server.name, 0) + of_build
        used = of_service + settings.max_running * of_build
        needed[server.name] = needed.get(server.name, 0) + used
    for name, server in servers.items():
        _refuse_too_many(server, needed[name], per_build[name], settings.max_running)
    return "; ".join(
        f"at most {needed[s.name]} of {s.limit}, beside {s.others} of others"
        for s in servers.values()
    )


def _refuse_too_many(server: _Server, needed: int, per_build: int, builds: int) -> None:
    missing = server.others + needed - server.limit
    if missing <= 0:
        return
    fewer = builds - -(-missing // per_build)
    lower = f", or QUICKSILVER_MAX_RUNNING to {fewer}" if fewer > 0 else ""
    raise BrokenError(
        f"{builds} builds at once and one service may take {needed} connections, others have"
        f" {server.others}, and Postgres allows {server.limit}",
        f"raise Postgres' max_connections by {missing} or more{lower}",
    )


async def _look(setting: str, url: str) -> _Server:
    """Query a server over the kind of connection that service and builds use.

    Raises:
        BrokenError: a pooler in between gives each transaction another session.
    """
    own = conninfo(
        url,
        "-c statement_timeout=15s",
        application_name="quicksilver-doctor",
        connect_timeout=_ANSWER_WITHIN,
    )
    try:
        async with (
            await psycopg.AsyncConnection.connect(own, autocommit=True) as first,
            await psycopg.AsyncConnection.connect(own, autocommit=True) as second,
        ):
            if await _share_sessions(first, second):
                raise _pooled(setting, "gives each transaction another session")
            row = await (await first.execute(_USED)).fetchone()
    except psycopg.Error as error:
        if "startup parameter" in str(error):
            raise _pooled(setting, f"refuses our sessions: {first_line(error)}") from error
        raise BrokenError(first_line(error), f"correct {setting}") from error
    assert row is not None  # noqa: S101 - an aggregate has a row
    return _Server(str(row[0]), int(row[1]), int(row[2]))


_USED = """
select
    pg_postmaster_start_time()::text || coalesce(host(inet_server_addr()), '') as server,
    current_setting('max_connections')::int
    - current_setting('superuser_reserved_connections')::int as allowed,
    count(*) filter (
        where application_name not like 'quicksilver%' and backend_type = 'client backend'
    ) as others
from pg_stat_activity
"""


def _pooled(setting: str, found: str) -> BrokenError:
    return BrokenError(
        f"a connection pooler {found}: notifications, locks and time limits of a session get lost",
        f"name Postgres itself in {setting}, or a pool with pool_mode = session (PgBouncer: and"
        " ignore_startup_parameters = options)",
    )


async def _share_sessions(first: psycopg.AsyncConnection, second: psycopg.AsyncConnection) -> bool:
    """Whether one connection's session state between transactions reaches another one."""
    before = await _session(first)
    async with second.transaction():
        # While this is open, no other connection has its session.
        taken = await _session(second)
        after = await _session(first)
    return taken == before or after != before


async def _session(connection: psycopg.AsyncConnection) -> int:
    row = await (await connection.execute("select pg_backend_pid()", prepare=False)).fetchone()
    assert row is not None  # noqa: S101 - a plain select has a row
    return int(row[0])
