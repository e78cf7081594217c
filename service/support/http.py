"""HTTP to servers of this machine, asked often: whether they answer yet, how far they are."""

from functools import cache

import httpx


@cache
def local_http_client() -> httpx.Client:
    """The one client of this process for it.

    `httpx.get` makes a client for each call, and that loads the system's certificates: 30 ms of
    CPU, which plain HTTP never uses. Connections are not kept: the servers may be restarted.
    """
    return httpx.Client(
        timeout=60, trust_env=False, limits=httpx.Limits(max_keepalive_connections=0)
    )
