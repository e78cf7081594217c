"""What doctor says of a Prefect server that wants a password."""

import json
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import prefect
import pytest
from prefect.settings import PREFECT_API_AUTH_STRING, temporary_settings

from quicksilver.operators.doctor import Finding, Probe, run_checks
from quicksilver.settings import load_settings
from quicksilver.stack.ports import LOOPBACK


@contextmanager
def server(authorization: str) -> Generator[str]:
    """Answers as a Prefect server with basic authentication does; its API's URL."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            known = self.headers.get("authorization") == authorization
            body = (
                json.dumps(prefect.__version__).encode()
                if self.path.endswith("/admin/version")
                else b"{}"
            )
            self.send_response(200 if known else 401)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET  # noqa: N815  (the base class looks for that name)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            return

    served = ThreadingHTTPServer((LOOPBACK, 0), Answer)
    Thread(target=served.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield f"http://{LOOPBACK}:{served.server_address[1]}/api"
    finally:
        served.shutdown()
        served.server_close()


async def findings(url: str) -> dict[str, Finding]:
    found = await run_checks(Probe(load_settings(prefect_api_url=url)), lambda _: None)
    return {finding.link: finding for finding in found}


@pytest.mark.parametrize(("given", "status"), [("", "broken"), ("quicksilver:it", "ok")])
async def test_a_server_that_wants_a_password_gets_it(
    given: str, status: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The tests' own server has another one.
    monkeypatch.delenv("PREFECT_API_AUTH_STRING", raising=False)
    with (
        server("Basic cXVpY2tzaWx2ZXI6aXQ=") as url,
        temporary_settings({PREFECT_API_AUTH_STRING: given or None}),
    ):
        found = (await findings(url))["prefect"]
    assert found.status == status, found
    assert given or "PREFECT_API_AUTH_STRING" in found.fix
