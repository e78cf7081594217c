"""The fence: which build may publish a partition."""

from dataclasses import dataclass

from quicksilver.domain.partition import Partition
from quicksilver.errors import FencedError
from quicksilver.support.statements import statement
from quicksilver.warehouse.session import Connection, key_of


@dataclass(frozen=True, slots=True)
class FenceGrant:
    """The fence was taken; `previous` is the build that held it before, if any.

    `previous_worker` is the build that named the previous build's sessions, if another one did.
    """

    build_id: int
    previous: int | None
    previous_worker: int | None


async def take(
    connection: Connection, partition: Partition, build_id: int, worker: int | None = None
) -> FenceGrant:
    """Make the build the holder of its partition's fence.

    `worker`: the build that names its sessions, if another one does.

    Raises:
        FencedError: a newer build holds it, or this one was given up.
    """
    key = {**key_of(partition), "build": build_id, "worker": worker}
    row = await (await connection.execute(statement("fence_take"), key)).fetchone()
    if row is None:
        raise FencedError(
            f"build {build_id} of {partition} may not begin: a newer build holds the partition,"
            " or this one was given up; the newer one brings silver up to date"
        )
    return FenceGrant(build_id, row["previous"], row["previous_worker"])


async def assert_holder(connection: Connection, partition: Partition, build_id: int) -> None:
    """Lock the fence until the transaction ends, and make sure that the build holds it.

    Raises:
        FencedError: it does not; nothing may be published.
    """
    key = key_of(partition)
    row = await (await connection.execute(statement("fence_lock"), key)).fetchone()
    if row is None or row["holder"] != build_id or row["is_revoked"]:
        holder = "nobody" if row is None else f"build {row['holder']}"
        why = "it was given up" if row and row["holder"] == build_id else f"{holder} holds it now"
        raise FencedError(f"build {build_id} of {partition} may not publish: {why}")
