"""The service's own TLS, and whose word on where a request comes from is taken."""

import ssl
from pathlib import Path
from typing import Any

import httpx
import pytest

from quicksilver.errors import SettingsError
from tests.support.certificates import Authority
from tests.support.serving import FAST_TOKEN, Served, serving
from tests.support.waiting import until

SITE = "quicksilver.localhost"
BEARER = {"authorization": f"Bearer {FAST_TOKEN}"}


def send(served: Served, context: ssl.SSLContext, body: bytes = b"{}") -> httpx.Response:
    with httpx.Client(verify=context, trust_env=False, timeout=20) as client:
        return client.post(
            f"https://127.0.0.1:{served.client.port}/events/minio",
            content=body,
            headers={**BEARER, "host": SITE},
            extensions={"sni_hostname": SITE},
        )


def context_of(site: Authority, pair: tuple[Path, Path] | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(site.file))
    if pair is not None:
        context.load_cert_chain(str(pair[0]), str(pair[1]))
    return context


def test_events_come_over_the_services_own_tls(ledger_url: str, tmp_path: Path) -> None:
    site = Authority(tmp_path, "site-ca")
    cert, key = site.issue(SITE, "site")
    with serving(ledger_url, tls_cert=cert, tls_key=key) as served:
        answer = send(served, context_of(site), b"no event")
        assert answer.text.startswith("quarantined")
        assert served.rows("select source from quicksilver.quarantine") == [{"source": "127.0.0.1"}]
        with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            send(served, ssl.create_default_context())
        with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
            httpx.get(f"http://127.0.0.1:{served.client.port}/healthz", trust_env=False)
        old = context_of(site)
        old.maximum_version = ssl.TLSVersion.TLSv1_1
        with pytest.raises(httpx.ConnectError):
            send(served, old)


def test_clients_must_show_a_certificate_where_it_is_asked(ledger_url: str, tmp_path: Path) -> None:
    site, clients = Authority(tmp_path, "site-ca"), Authority(tmp_path, "clients-ca")
    cert, key = site.issue(SITE, "site")
    known, stranger = clients.issue("a-sender", "known"), site.issue("a-stranger", "stranger")
    with serving(ledger_url, tls_cert=cert, tls_key=key, tls_client_ca=clients.file) as served:
        assert send(served, context_of(site, known)).status_code == 200
        for pair in (None, stranger):
            with pytest.raises((httpx.ReadError, httpx.ConnectError, httpx.RemoteProtocolError)):
                send(served, context_of(site, pair))
        assert send(served, context_of(site, known)).status_code == 200


@pytest.mark.parametrize("broken", ["missing", "no pem", "another's key", "no key", "client ca"])
def test_certificates_that_cannot_be_used_are_one_line(
    ledger_url: str, tmp_path: Path, broken: str
) -> None:
    site = Authority(tmp_path, "site-ca")
    cert, key = site.issue(SITE, "site")
    rubbish = tmp_path / "rubbish"
    rubbish.write_text("no certificate")
    given: dict[str, dict[str, Any]] = {
        "missing": {"tls_cert": tmp_path / "nowhere", "tls_key": key},
        "no pem": {"tls_cert": rubbish, "tls_key": key},
        "another's key": {"tls_cert": cert, "tls_key": site.issue(SITE, "other")[1]},
        "no key": {"tls_cert": cert},
        "client ca": {"tls_cert": cert, "tls_key": key, "tls_client_ca": rubbish},
    }
    with (
        pytest.raises(SettingsError, match=r"^QUICKSILVER_TLS_") as caught,
        serving(ledger_url, **given[broken]),
    ):
        pass
    assert "\n" not in str(caught.value)


def sources(served: Served, forwarded: str) -> str:
    """What the ledger notes as the source of a body sent with X-Forwarded-For."""
    body = f"no event: {forwarded}".encode()
    answer = served.client.request(
        "POST", "/events/minio", body, X_Forwarded_For=forwarded, X_Forwarded_Proto="https"
    )
    assert answer.text.startswith("quarantined")
    (row,) = until(
        lambda: served.rows("select source from quicksilver.quarantine where body = %s", body),
        "the body in quarantine",
    )
    return str(row["source"])


def test_nobody_is_believed_unless_we_were_told(ledger_url: str) -> None:
    with serving(ledger_url) as served:
        assert sources(served, "203.0.113.7") == "127.0.0.1"


def test_a_trusted_proxy_says_where_a_request_comes_from(ledger_url: str) -> None:
    with serving(ledger_url, trusted_proxies="127.0.0.1, 198.51.100.0/24") as served:
        assert sources(served, "203.0.113.7") == "203.0.113.7"
        # What a sender wrote himself stands left of what the proxies saw.
        assert sources(served, "192.0.2.1, 203.0.113.8, 198.51.100.9") == "203.0.113.8"
        stranger = type(served.client)(served.client.port, "wrong", "127.0.0.1")
        for number in range(25):
            answer = stranger.request(
                "POST", "/events/minio", b"", X_Forwarded_For=f"203.0.113.{number % 2}"
            )
            assert answer.status == 401, "counted by sender, not by proxy"


def test_another_than_the_proxy_is_not_believed(ledger_url: str) -> None:
    with serving(ledger_url, trusted_proxies="127.0.0.77") as served:
        assert sources(served, "203.0.113.7") == "127.0.0.1"
        stranger = type(served.client)(served.client.port, "wrong", "127.0.0.9")
        answers = [
            stranger.request("POST", "/events/minio", b"", X_Forwarded_For=f"203.0.113.{number}")
            for number in range(21)
        ]
        assert answers[-1].status == 429, "a new address each time does not help"
