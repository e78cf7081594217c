"""Unusual keys that S3 allows, and keys that cannot be stored."""

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote_plus

from tests.support.bad_input import BadInput, posted
from tests.support.payloads import KEY, PREFIX, notification, record

# Each as MinIO encodes it (`url.QueryEscape`), and so as Python's `quote_plus` does.
FILES = {
    "a plus": "a+b.parquet",
    "a blank": "a b.parquet",
    "%20 in the name": "a%20b.parquet",
    "%2B in the name": "a%2Bb.parquet",
    "%252F in the name": "a%252Fb.parquet",
    "%zz in the name": "a%zzb.parquet",
    "%00 in the name, as text": "a%00b.parquet",
    "NFC": "caf\u00e9.parquet",
    "NFD": "cafe\u0301.parquet",
    "emoji": "🚕🗽.parquet",
    "emoji with joiners": "👩‍👩‍👧‍👦.parquet",
    "right to left": "\u202eteuqrap.\u202c مرحبا.parquet",
    "a byte order mark": "\ufeffdata.parquet",
    "a zero-width blank": "da\u200bta.parquet",
    "a newline": "a\nb.parquet",
    "a carriage return": "a\r\nX-Evil: 1.parquet",
    "a tab": "a\tb.parquet",
    "an escape": "a\x1b[31mb.parquet",
    "delete": "a\x7fb.parquet",
    "backslashes": "a\\..\\..\\windows.parquet",
    "quotes": "a'b\"c`d.parquet",
    "an SQL injection": "'; drop table quicksilver.event; --.parquet",
    "a format string": "%s%n%(key)s{0}{key}.parquet",
    "a template": "{{7*7}}${7*7}.parquet",
    "a script": "<script>alert(1)<.script>.parquet",
    "a lookup": "${jndi:ldap:evil}.parquet",
    "a glob": "[a-z]*?.parquet",
    "stars": "*.parquet",
    "a question mark and a hash": "a?b#c=d&e;f.parquet",
    "a colon": "C:data.parquet",
    "a reserved name": "CON.parquet",
    "the last code point": "\U0010ffff.parquet",
    "a private one": "\ue000.parquet",
    "1,024 bytes": "x" * (1024 - len(PREFIX) - len("2024-01-01/.parquet")) + ".parquet",
    "1,024 bytes of emoji": "🚕" * ((1024 - len(PREFIX) - 19) // 4) + ".parquet",
}

OUTSIDE = {
    "a climb out of the folder": (f"{PREFIX}2024-01-01/../data.parquet", "no-partition"),
    "a climb above the bucket": ("../../../etc/passwd", "outside-datasets"),
    "an empty segment": (f"{PREFIX}2024-01-01//data.parquet", "no-partition"),
    "a leading slash": (f"/{KEY}", "outside-datasets"),
    "a folder": (f"{PREFIX}2024-01-01/", "no-partition"),
    "a folder below": (f"{PREFIX}2024-01-01/sub/data.parquet", "no-partition"),
    "two dots for a file": (f"{PREFIX}2024-01-01/..", "other-file"),
    "a hidden file": (f"{PREFIX}2024-01-01/.parquet", "other-file"),
    "a file that is being written": (f"{PREFIX}2024-01-01/_temporary.parquet", "other-file"),
    "a date that never was": (f"{PREFIX}2023-02-29/data.parquet", "bad-date"),
    "the year nought": (f"{PREFIX}0000-01-01/data.parquet", "bad-date"),
    "a date of other digits": (
        f"{PREFIX}\uff12\uff10\uff12\uff14-01-01/data.parquet",
        "no-partition",
    ),
    "a date before Christ": (f"{PREFIX}-044-03-15/data.parquet", "no-partition"),
    "a date too long": (f"{PREFIX}12024-01-01/data.parquet", "no-partition"),
    "another case": (KEY.upper(), "outside-datasets"),
    "1,025 bytes": ("y" * 1025, "outside-datasets"),
}


def keys() -> Iterator[BadInput]:
    for number, (name, file) in enumerate(FILES.items()):
        key = f"{PREFIX}2024-03-{1 + number % 28:02}/{file}"
        body = notification(record(quote_plus(key)))
        yield posted(f"key with {name}", body, "settling", key=key)
    for name, (key, why) in OUTSIDE.items():
        body = notification(record(quote_plus(key)))
        yield posted(f"key: {name}", body, f"ignored:{why}", key=key)
    yield posted("key with a wrong escape", notification(record(f"{KEY}%zz")), "ignored:other-file")
    for name, encoded in {
        "NUL": KEY + "%00",
        "NUL as it is": KEY + "\0",
        "bytes that are no UTF-8": KEY + "%FF%FE",
        "an overlong slash": KEY + "%C0%AF",
        "a lone surrogate, encoded": KEY + "%ED%A0%80",
        "2,001 bytes": "z" * 2001,
        "6,001 bytes, encoded": "%7A" * 2001,
        "nothing": "",
        "a null": None,
        "a number": 7,
        "a list": ["a"],
        "an object": {"a": 1},
    }.items():
        yield posted(f"key: {name}", notification(_with_key(encoded)), "quarantined: bad-key")
    lone = json.dumps(notification(record("\ud800"))).encode()
    yield posted("key: a lone surrogate in JSON", lone, "quarantined: not-json")


def _with_key(key: Any) -> dict[str, Any]:
    broken = record()
    broken["s3"]["object"]["key"] = key
    return broken
