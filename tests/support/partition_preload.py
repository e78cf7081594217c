"""What the server of building processes has in memory before it forks the first one."""

from quicksilver.build import preload as warm
from tests.support import partition_child

__all__ = ["partition_child"]

warm.preload()
