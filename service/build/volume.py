"""Whether a partition has the size that its dataset's partitions have: warns, never fails."""

from collections.abc import Sequence
from statistics import median

from quicksilver.domain.partition import Partition
from quicksilver.support.statements import statement
from quicksilver.warehouse.publish import Counts
from quicksilver.warehouse.session import Connection, key_of

# Real months differ by half; a file cut short or landed twice over differs by more than this.
_FACTOR = 3
# Fewer neighbours say nothing about what is usual.
_ENOUGH = 3
# Below it, a share that has tripled is noise.
_REJECTED_SHARE = 0.05


async def volume_warnings(
    connection: Connection, partition: Partition, counts: Counts
) -> list[str]:
    """What is unusual about a partition, one sentence each; nothing when history is short."""
    key = key_of(partition)
    rows = await (await connection.execute(statement("publication_history"), key)).fetchall()
    return unusual(counts, [(row["rows_bronze"], row["rows_rejected"]) for row in rows])


def unusual(counts: Counts, history: Sequence[tuple[int, int]]) -> list[str]:
    """Compare with the rows, and the rows rejected, of other partitions of the dataset."""
    known = [(rows, rejected) for rows, rejected in history if rows]
    if len(known) < _ENOUGH:
        return []
    found: list[str] = []
    usual = median(rows for rows, _ in known)
    if not usual / _FACTOR <= counts.bronze <= usual * _FACTOR:
        found.append(
            f"{counts.bronze:,} rows landed; partitions of this dataset usually have {usual:,.0f}"
        )
    share = counts.rejected / counts.bronze if counts.bronze else 0.0
    usual_share = median(rejected / rows for rows, rejected in known)
    if share > max(_REJECTED_SHARE, usual_share * _FACTOR):
        found.append(f"{share:.1%} of the rows were rejected; usually it is {usual_share:.1%}")
    return found
