"""Settings that make Prefect's client cheap where its server is our own, on this machine."""

from __future__ import annotations

import ssl
from pathlib import Path

import certifi

_END = "-----END CERTIFICATE-----\n"


def lean_client_environment(api_url: str, folder: Path) -> dict[str, str]:
    """Variables for clients of a Prefect server that the same stack started.

    A run makes eight clients. Each parses certifi's 140 authorities (18 ms) although the API is
    plain HTTP: with one authority, written to `folder`, that is 1 ms. Each would ask for the
    server's version, which is this one's. An API behind TLS, and so not ours, gets no such
    settings.
    """
    if not api_url.startswith("http://"):
        return {}
    authority = folder / "one-authority.pem"
    if not authority.exists():
        everybody = Path(certifi.where()).read_text(encoding="utf-8")
        begin = everybody.index("-----BEGIN CERTIFICATE-----")
        one = everybody[begin : everybody.index(_END, begin) + len(_END)]
        ssl.create_default_context(cadata=one)  # fails here rather than in every client
        draft = authority.with_suffix(".new")
        draft.write_text(one, encoding="utf-8")
        draft.replace(authority)
    return {
        "PREFECT_API_SSL_CERT_FILE": str(authority),
        "PREFECT_CLIENT_SERVER_VERSION_CHECK_ENABLED": "false",
    }
