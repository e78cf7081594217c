"""`quicksilver check --from-lake PREFIX`: a declaration that a real listing's keys fit."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice

import urllib3
from minio.error import MinioException, S3Error

from quicksilver.domain.keys import parse_pattern
from quicksilver.errors import BronzeUnavailableError, QuicksilverError
from quicksilver.lake.bronze import minio_client
from quicksilver.settings import Settings

# Enough to recognise a layout; a lake may hold millions of keys.
LOOKED_AT = 5_000

# `{dt:…}` by the shape of the text, the most telling first.
_DATES = (
    (r"\d{4}-\d{2}-\d{2}T\d{2}", "%Y-%m-%dT%H"),
    (r"\d{4}-\d{2}-\d{2}", "%Y-%m-%d"),
    (r"\d{4}_\d{2}_\d{2}", "%Y_%m_%d"),
    (r"(?:19|20)\d{6}", "%Y%m%d"),
    (r"\d{4}-\d{2}", "%Y-%m"),
)
_PARTS = {
    "year": "year",
    "yyyy": "year",
    "y": "year",
    "month": "month",
    "mm": "month",
    "m": "month",
    "day": "day",
    "dd": "day",
    "d": "day",
    "hour": "hour",
    "hh": "hour",
    "h": "hour",
    "minute": "minute",
    "min": "minute",
}
_ORDER = ("year", "month", "day", "hour", "minute")
_HIDDEN = ("_", ".")


@dataclass(frozen=True, slots=True)
class Proposal:
    """A dataset that some of the keys fit: its pattern, and what its files are called."""

    name: str
    key: str
    files: tuple[str, ...]
    fitting: int


def list_keys(settings: Settings, bucket: str, prefix: str) -> list[str]:
    """At most `LOOKED_AT` keys under a prefix.

    Raises:
        BronzeUnavailableError: the store does not answer.
        QuicksilverError: it refused; the message says what and why.
    """
    settings.require("minio_access_key", "minio_secret_key")
    try:
        found = minio_client(settings).list_objects(bucket, prefix=prefix, recursive=True)
        return [each.object_name for each in islice(found, LOOKED_AT) if each.object_name]
    except S3Error as error:
        raise QuicksilverError(
            f"s3://{bucket}/{prefix} may not be listed: {error.code}: {error.message}"
        ) from error
    except (MinioException, urllib3.exceptions.HTTPError, OSError) as error:
        raise BronzeUnavailableError(
            f"MinIO at {settings.minio_endpoint_url} does not answer: {error}"
        ) from error


def propose(keys: Iterable[str]) -> list[Proposal]:
    """Datasets whose patterns the keys fit, the one with most keys first. Pure.

    Keys below the same table, that differ in dates and dimensions alone, are one dataset; hidden
    and temporary ones are left out.
    """
    tables: dict[tuple[str, ...], list[list[str]]] = defaultdict(list)
    for key in keys:
        segments = key.split("/")
        if any(segment.startswith(_HIDDEN) for segment in segments) or key.endswith("/"):
            continue
        varying = [place for place, segment in enumerate(segments[:-1]) if _varies(segment)]
        end = varying[0] if varying else len(segments) - 1
        tables[tuple(segments[:end])].append(segments)
    found = [_proposal(table, rows) for table, rows in tables.items()]
    return sorted((each for each in found if each), key=lambda each: -each.fitting)


def _varies(segment: str) -> bool:
    name, equals, _ = segment.partition("=")
    return bool(equals and name) or _dated(segment) is not None or _number(segment) is not None


def _number(segment: str) -> int | None:
    return int(segment) if re.fullmatch(r"\d{1,4}", segment, re.ASCII) else None


def _dated(text: str) -> str | None:
    """The text with its date as `{dt…}`; None without one."""
    for shape, form in _DATES:
        found = re.search(rf"(?<!\d){shape}(?!\d)", text, re.ASCII)
        if found and _is_date(found[0], form):
            field = "{dt}" if form == "%Y-%m-%d" else f"{{dt:{form}}}"
            return text[: found.start()] + field + text[found.end() :]
    return None


def _is_date(text: str, form: str) -> bool:
    try:
        datetime.strptime(text, form)  # noqa: DTZ007  only whether it is one
    except ValueError:
        return False
    return True


def _proposal(table: tuple[str, ...], rows: Sequence[list[str]]) -> Proposal | None:
    depth = Counter(len(row) for row in rows)
    folders = [row[len(table) : min(depth) - 1] for row in rows]
    pattern = [*table, *_folders(folders)]
    names = [row[-1] for row in rows]
    has_time = any("{dt" in each or "{year}" in each for each in pattern)
    last = "{path}" if len(depth) > 1 else "{file}"
    dated = Counter(filter(None, map(_dated, names)))
    if not has_time and dated and len(depth) == 1:
        template, count = dated.most_common(1)[0]
        if count > 0.9 * len(names):
            last = template
    key = "/".join([*pattern, last])
    try:
        parsed = parse_pattern(key)
    except ValueError:
        return None
    fitting = sum(not isinstance(parsed.fit("/".join(row)), str) for row in rows)
    name = re.sub(r"[^a-z0-9_.]+", "_", ".".join(table[-2:]).lower()).strip("_.") or "lake.objects"
    return Proposal(name, key, _globs(names) if parsed.tail else (), fitting)


def _folders(rows: Sequence[list[str]]) -> list[str]:
    """A template for each folder between the table and the file."""
    made: list[str] = []
    used: set[str] = set()
    for place in range(min(map(len, rows), default=0)):
        texts = [row[place] for row in rows]
        template = _folder(texts, used)
        used.update(re.findall(r"{(\w+)", template))
        made.append(template)
    return made


def _folder(texts: Sequence[str], used: set[str]) -> str:
    names = {text.partition("=")[0] for text in texts if "=" in text}
    if len(names) == 1 and all("=" in text for text in texts):
        (name,) = names
        values = [text.partition("=")[2] for text in texts]
        return f"{name}={_value(name, values, used)}"
    return texts[0] if len(set(texts)) == 1 and not _varies(texts[0]) else _value("", texts, used)


def _value(name: str, values: Sequence[str], used: set[str]) -> str:
    templates = {_dated(value) for value in values}
    if len(templates) == 1 and (template := templates.pop()) and "dt" not in used:
        return template
    part = _PARTS.get(name.lower())
    if part is None and not name:
        # 2024/05/01/13: each number is the next part of the time.
        part = next((each for each in _ORDER if each not in used), None)
    is_numeric = all(_number(value) is not None for value in values)
    if part and part not in used and is_numeric and "dt" not in used:
        return f"{{{part}}}"
    if part == "hour" and is_numeric and "hour" not in used:
        return "{hour}"
    word = re.sub(r"[^a-z0-9_]+", "_", name.lower()).strip("_") or f"part{len(used) + 1}"
    return f"{{{word}}}"


def _globs(names: Sequence[str]) -> tuple[str, ...]:
    """Patterns such as `*.json.gz` for the files that were found, the most frequent first."""
    found = [re.search(r"(\.[a-z]\w*){1,2}$", name) for name in names]
    ends = Counter(match[0] if match else "" for match in found)
    return tuple(f"*{end}" for end, _ in ends.most_common(4)) if "" not in ends else ("*",)


def as_yaml(bucket: str, proposals: Sequence[Proposal]) -> str:
    """The proposals as a `datasets.yaml`, to be read and corrected by a person."""
    lines = ["datasets:"]
    for each in proposals:
        globs = ", ".join(f'"{glob}"' for glob in each.files)
        lines += [
            f"  {each.name}:                # {each.fitting} of the keys looked at",
            f"    bucket: {bucket}",
            f'    key: "{each.key}"',
            *([f"    files: [{globs}]"] if globs else []),
            "    deployment: my-flow/prod     # flow/deployment, as Prefect knows it",
        ]
    return "\n".join(lines)
