"""Which store answers at an address, recognized by its public responses."""

import re
from urllib.parse import urlsplit

import httpx

# Kind and title by the end of a host's name, and by the beginning of the header `Server`.
_HOSTS = {
    "amazonaws.com": ("aws", "Amazon S3"),
    "r2.cloudflarestorage.com": ("other", "Cloudflare R2"),
    "backblazeb2.com": ("other", "Backblaze B2"),
    "storage.googleapis.com": ("other", "Google Cloud Storage"),
}
_SERVERS = {
    "minio": ("minio", "MinIO"),
    "versitygw": ("versity", "Versity S3 Gateway"),
    "rustfs": ("rustfs", "RustFS"),
    "ceph": ("ceph", "Ceph"),
    "amazons3": ("aws", "Amazon S3"),
    "seaweedfs": ("other", "SeaweedFS"),
}
# Ceph before 19 does not name itself, but its request ids have a form of their own.
_CEPH_REQUEST = re.compile(r"tx[0-9a-f]{21}-[0-9a-f]{10}-[0-9a-f]+-.+")


def detect_store(url: str, *, timeout: float = 5.0) -> tuple[str, str] | None:
    """The kind (for QUICKSILVER_STORE) and the title of the store that answers; None if unknown.

    Raises:
        httpx.HTTPError: nothing answers.
    """
    host = urlsplit(url).hostname or ""
    for end, found in _HOSTS.items():
        if host == end or host.endswith(f".{end}"):
            return found
    headers = httpx.get(url, timeout=timeout).headers
    server = headers.get("server", "").lower()
    for begin, found in _SERVERS.items():
        if server.startswith(begin):
            return found
    if _CEPH_REQUEST.fullmatch(headers.get("x-amz-request-id", "")):
        return _SERVERS["ceph"]
    return None


def contradiction(kind: str, url: str) -> str | None:
    """What is wrong with `kind` for the store that answers, or None; `other` fits every store.

    Raises:
        httpx.HTTPError: nothing answers.
    """
    found = detect_store(url)
    if found is None or kind in (found[0], "other"):
        return None
    return f"{found[1]} answers at {url}, but QUICKSILVER_STORE is {kind}"
