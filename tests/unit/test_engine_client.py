"""Prefect's client gets cheap only where its server is our own."""

import ssl
from pathlib import Path

from quicksilver.engine.client import lean_client_environment


def test_one_authority_is_enough_for_plain_http(tmp_path: Path) -> None:
    for _ in range(2):
        variables = lean_client_environment("http://127.0.0.1:4200/api", tmp_path)
        context = ssl.create_default_context(cafile=variables["PREFECT_API_SSL_CERT_FILE"])
        assert len(context.get_ca_certs()) == 1


def test_an_api_behind_tls_keeps_every_authority(tmp_path: Path) -> None:
    assert lean_client_environment("https://api.prefect.cloud/api", tmp_path) == {}
    assert not list(tmp_path.iterdir())
