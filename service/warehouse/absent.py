"""Running without a warehouse: Quicksilver only triggers."""

from typing import Any

from quicksilver.domain.partition import Partition


class NoWarehouse:
    """The settler's warehouse where none is configured: nothing was ever published.

    A build that dies is given up without a check: there is no fence that it could pass.
    """

    async def revoke(self, partition: Partition, build_id: int) -> dict[str, Any] | None:  # noqa: ARG002
        """None: the build published nothing."""
        return None

    async def newest_build(self) -> int:
        """0: no build ever held a fence."""
        return 0
