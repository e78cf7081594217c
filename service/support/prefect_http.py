"""Plain HTTP to a Prefect server that wants a password and a CSRF token."""

import base64
from collections.abc import Generator, Mapping
from uuid import uuid4

import httpx

_CHANGING = {"POST", "PUT", "PATCH", "DELETE"}


class PrefectAuth(httpx.Auth):
    """Sends the password, and asks for a CSRF token before the first request that changes anything.

    Args:
        api_url: Prefect's API, http(s)://host:port/api.
        auth_string: `user:password`, the server's PREFECT_SERVER_API_AUTH_STRING; empty: none.
    """

    requires_response_body = True

    def __init__(self, api_url: str, auth_string: str) -> None:
        self._api_url = api_url.rstrip("/")
        self._headers: dict[str, str] = {}
        if auth_string:
            token = base64.b64encode(auth_string.encode()).decode()
            self._headers["Authorization"] = f"Basic {token}"
        self._client = str(uuid4())
        self._token: str | None = None

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response]:
        """httpx's hook to sign a request."""
        request.headers.update(self._headers)
        if request.method in _CHANGING:
            if self._token is None:
                url = f"{self._api_url}/csrf-token?client={self._client}"
                answer = yield httpx.Request("GET", url, headers=self._headers)
                # A server that wants no token says 422, an older one 404.
                self._token = answer.json()["token"] if answer.is_success else ""
            if self._token:
                request.headers["Prefect-Csrf-Token"] = self._token
                request.headers["Prefect-Csrf-Client"] = self._client
        yield request


def prefect_auth(environment: Mapping[str, str]) -> PrefectAuth:
    """For the Prefect that the environment names: PREFECT_API_URL, PREFECT_API_AUTH_STRING."""
    return PrefectAuth(
        environment["PREFECT_API_URL"], environment.get("PREFECT_API_AUTH_STRING", "")
    )
