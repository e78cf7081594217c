"""The health of `prefect server services start`, which has no port: does its heart still beat?

Prefect's background services run as a worker of Docket's, which tells Valkey every few seconds that
it is there; one that stopped telling is gone from the list.
"""

import asyncio
import os
import socket
import sys

from docket import Docket


async def main() -> int:
    """Returns 0 when this host's worker is listed."""
    name = os.environ.get("PREFECT_SERVER_DOCKET_NAME", "prefect-server")
    async with Docket(name=name, url=os.environ["PREFECT_SERVER_DOCKET_URL"]) as docket:
        workers = [worker.name for worker in await docket.workers()]
    mine = f"{socket.gethostname()}#"
    return 0 if any(worker.startswith(mine) for worker in workers) else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
