"""The embedded stack is its own: its Prefect answers nobody else, its ports are nobody else's."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import httpx
import pytest

from quicksilver.stack import EmbeddedStack
from quicksilver.support.prefect_http import PrefectAuth, prefect_auth
from tests.support.servers import HOMES

FILTER = "/work_pools/filter"


def post(api: str, auth: httpx.Auth | None = None, **headers: str) -> httpx.Response:
    """What a program of this machine may send."""
    return httpx.post(
        f"{api}{FILTER}", json={}, headers=headers, auth=auth, trust_env=False, timeout=30
    )


def test_prefect_wants_a_password(prefect_api: str) -> None:
    wrong = PrefectAuth(prefect_api, "admin:wrong")
    for auth in (None, wrong):
        url = f"{prefect_api}/admin/version"
        answer = httpx.get(url, auth=auth, trust_env=False, timeout=30)
        assert answer.status_code == 401
        # The missing CSRF token is seen first.
        assert post(prefect_api, auth).status_code == 403
    assert post(prefect_api, prefect_auth(os.environ)).status_code == 200


def test_a_password_alone_changes_nothing(prefect_api: str) -> None:
    user, _, password = os.environ["PREFECT_API_AUTH_STRING"].partition(":")
    answer = post(prefect_api, httpx.BasicAuth(user, password))
    assert answer.status_code == 403
    assert "CSRF" in answer.text


@pytest.mark.parametrize("is_own", [True, False])
def test_only_its_own_pages_may_read_it(prefect_api: str, is_own: bool) -> None:
    own = prefect_api.removesuffix("/api")
    origin = own if is_own else "http://elsewhere.example"
    answer = httpx.options(
        f"{prefect_api}{FILTER}",
        headers={"Origin": origin, "Access-Control-Request-Method": "POST"},
        trust_env=False,
        timeout=30,
    )
    allowed = answer.headers.get("access-control-allow-origin")
    assert allowed == (own if is_own else None)


def test_stacks_that_start_at_once_share_no_port() -> None:
    usual = {"postgres": None, "minio": 21_987, "prefect": None, "service": 21_988}
    stacks = [EmbeddedStack(HOMES / f"once{n}", parts={"minio"}, ports=usual) for n in range(3)]
    with ExitStack() as ending, ThreadPoolExecutor(len(stacks)) as pool:
        for each in stacks:
            ending.callback(each.stop)
        list(pool.map(EmbeddedStack.start, stacks))
        ports = [port for each in stacks for port in each.home.credentials.ports.values()]
        assert len(set(ports)) == len(ports)
        assert {each.home.port("minio") for each in stacks} >= {21_987}
