"""What must hold of a site's ledger and warehouse, whatever its hosts and links went through."""

from __future__ import annotations

from tests.chaos.hosts import ROWS, Site
from tests.chaos.stage import DATASET, StuckError, rows, seconds_until_well


def unfinished(site: Site) -> dict[str, str]:
    """What is not as it must be, by partition; empty when everything put is in silver."""
    found = {
        row[0]: row[1:]
        for row in site.ledger(
            "select dt, state, generation, built_generation, rows_bronze, error, due_at::text"
            " from quicksilver.partition where dataset = %s",
            DATASET,
        )
    }
    problems: dict[str, str] = {}
    for dt, version in site.put.items():
        state, generation, built, counted, error, due = found.get(
            dt, ("unknown", 0, -1, None, None, None)
        )
        if state != "built" or generation != built:
            problems[str(dt)] = f"{state}, generation {built} of {generation}, due {due}: {error}"
        elif counted != ROWS + version:
            problems[str(dt)] = f"{counted} rows, {ROWS + version} were put last"
    active = site.ledger(
        "select partition, state from quicksilver.build where finished_at is null order by id"
    )
    return problems | {f"build of {dt}": state for dt, state in active}


def await_built(site: Site, within: float = 300) -> float:
    """Seconds until everything put is in silver.

    Raises:
        StuckError: it is not in time; says what is missing, and who holds what.
    """
    try:
        return seconds_until_well(lambda: unfinished(site), within)
    except StuckError as error:
        busy = site.ledger(
            "select client_addr::text, application_name, state, state_change::text,"
            " left(query, 200) from pg_stat_activity"
            " where xact_start is not null and pid <> pg_backend_pid()"
        )
        raise StuckError(f"{error}; sessions in a transaction: {busy}") from None


def violations(site: Site) -> list[str]:
    """Every invariant that does not hold, in words."""
    found: list[str] = []
    for dt in site.put:
        (counts,) = rows(
            site.database("warehouse"),
            "select (select count(*) from bronze.yellow_tripdata where dt = %(dt)s),"
            " (select count(*) from silver.yellow_trips where dt = %(dt)s),"
            " (select count(*) from silver.yellow_trips_rejected where dt = %(dt)s)",
            {"dt": dt},
        )
        if counts[0] != ROWS + site.put[dt] or counts[0] != counts[1] + counts[2]:
            found.append(f"{dt}: bronze {counts[0]}, silver and rejected {counts[1:]}")
    twice = site.ledger(
        "select partition, generation, count(*) from quicksilver.build"
        " where state in ('published', 'succeeded')"
        " group by partition, generation having count(*) > 1"
    )
    found += [f"{dt}: generation {generation} built {n} times" for dt, generation, n in twice]
    silent = site.ledger(
        "select partition, generation, state from quicksilver.build as b"
        " where state <> 'succeeded' and error is null and exists ("
        " select 1 from quicksilver.build as o where (o.partition, o.generation)"
        " = (b.partition, b.generation) and o.id > b.id)"
    )
    found += [f"{dt}: generation {g} built again after {s}, unsaid why" for dt, g, s in silent]
    return found


def lost_builds(site: Site) -> list[str]:
    """Why builds were given up."""
    return [
        f"{state}: {error}"
        for state, error in site.ledger(
            "select state, error from quicksilver.build"
            " where state in ('lost', 'failed') order by id"
        )
    ]
