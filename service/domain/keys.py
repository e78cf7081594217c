"""What a dataset's key pattern means: which keys it fits, and the partition that each belongs to.

Pure, and the only place that decides it, for event, listing, sweep and manifest alike.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cache, lru_cache
from typing import Literal

Grain = Literal["year", "month", "day", "hour", "minute"]

GRAINS: tuple[Grain, ...] = ("year", "month", "day", "hour", "minute")

# A partition of a dataset whose pattern has neither time nor dimension: all of its files.
WHOLE = "all"

# How a partition's name says its time, by grain.
_NAMES: dict[Grain, str] = {
    "year": "%Y",
    "month": "%Y-%m",
    "day": "%Y-%m-%d",
    "hour": "%Y-%m-%dT%H",
    "minute": "%Y-%m-%dT%H:%M",
}
# Hive and Spark write `month=5` as well as `month=05`.
_PARTS: dict[str, str] = {
    "year": r"\d{4}",
    "month": r"\d{1,2}",
    "day": r"\d{1,2}",
    "hour": r"\d{1,2}",
    "minute": r"\d{1,2}",
}
# strptime's directives of fixed width, each with the finest grain that it gives.
_DIRECTIVES: dict[str, tuple[str, Grain | None]] = {
    "Y": (r"\d{4}", "year"),
    "y": (r"\d{2}", "year"),
    "m": (r"\d{2}", "month"),
    "b": (r"[A-Za-z]{3}", "month"),
    "d": (r"\d{2}", "day"),
    "j": (r"\d{3}", "day"),
    "H": (r"\d{2}", "hour"),
    "M": (r"\d{2}", "minute"),
    "%": ("%", None),
}
_FIELD = re.compile(r"{([^{}]*)}")
_NAME = re.compile(r"[a-z_][a-z0-9_]*", re.ASCII)
_TAILS = ("file", "path")
# What a deployment's parameters are called; a dimension of that name would hide one.
RESERVED = frozenset(
    {"dataset", "partition", "generation", "attempt", "bucket", "prefix", "files", "key", "etag"}
    | {"size", "version_id"}
)


@dataclass(frozen=True, slots=True)
class Fit:
    """A key that fits a pattern.

    `fields` are the pattern's values as text; `time` is the partition's time at its grain, UTC;
    `rest` is what the tail (`{file}` or `{path}`) stands for, or the last segment.
    """

    fields: Mapping[str, str]
    time: datetime | None
    rest: str


@dataclass(frozen=True, slots=True)
class KeyPattern:
    """A parsed `key:`; make it by `parse_pattern`."""

    text: str
    regex: re.Pattern[str]
    prefix: str
    """The literal start of every key: what notifications and listings filter on."""
    suffix: str
    """The literal end of every key; empty where the pattern ends in a field."""
    grain: Grain | None
    dimensions: tuple[str, ...]
    tail: str
    """`file`, `path`, or empty: the pattern ends in a literal or a dimension."""
    date_format: str

    def fit(self, key: str) -> Fit | Literal["no-partition", "bad-date"]:
        """The fields of a key, or why it has none."""
        found = self.regex.fullmatch(key)
        if found is None:
            return "no-partition"
        fields = found.groupdict()
        rest = fields.pop(self.tail) if self.tail else key.rpartition("/")[2]
        try:
            return Fit(fields, self._time(fields), rest)
        except ValueError:
            return "bad-date"

    def _time(self, fields: Mapping[str, str]) -> datetime | None:
        if self.grain is None:
            return None
        if "dt" in fields:
            moment = _read(fields["dt"], self.date_format)
        else:
            moment = datetime(
                int(fields["year"]), int(fields.get("month", 1)), int(fields.get("day", 1)),
                tzinfo=UTC,
            )  # fmt: skip
        return moment.replace(
            hour=int(fields.get("hour", moment.hour)),
            minute=int(fields.get("minute", moment.minute)),
        )

    def name_of(self, fit: Fit) -> str:
        """The partition's name: the time at its grain, then the dimensions, `name=value`."""
        parts = [self.time_name(fit.time)] if fit.time is not None else []
        parts += [f"{name}={fit.fields[name]}" for name in self.dimensions]
        return "/".join(parts) or WHOLE

    def time_name(self, moment: datetime | date) -> str:
        """A moment at the pattern's grain, as partitions are called."""
        return _written(moment, _NAMES[self.grain or "day"])

    def fields_of(self, name: str) -> dict[str, str] | None:
        """The fields of the partition of that name, padded; None if the pattern has no such name.

        `dt` is always among them where the pattern has a time: its first day, YYYY-MM-DD.
        """
        if name == WHOLE and self.grain is None and not self.dimensions:
            return {}
        parts = name.split("/")
        fields: dict[str, str] = {}
        if self.grain is not None:
            try:
                moment = datetime.strptime(parts[0], _NAMES[self.grain]).replace(tzinfo=UTC)
            except ValueError:
                return None
            if self.time_name(moment) != parts.pop(0):
                return None
            for part in GRAINS[: GRAINS.index(self.grain) + 1]:
                width = 4 if part == "year" else 2
                fields[part] = f"{getattr(moment, part):0{width}d}"
            fields["dt"] = _written(moment, "%Y-%m-%d")
        pairs = [part.partition("=") for part in parts]
        if [pair[0] for pair in pairs] != list(self.dimensions):
            return None
        return fields | {dimension: value for dimension, _, value in pairs}

    def prefixes_of(self, name: str) -> tuple[str, ...]:
        """The key prefixes under which a partition's objects lie: one for each way of writing it.

        Raises:
            ValueError: no partition of this pattern has that name.
        """
        fields = self.fields_of(name)
        if fields is None:
            raise ValueError(f"{name!r} is not a partition of {self.text}")
        variants = [fields]
        if bare := {
            part: str(int(fields[part]))
            for part in ("month", "day", "hour", "minute")
            if f"{{{part}}}" in self.text and fields[part].startswith("0")
        }:
            variants.append(fields | bare)
        return tuple(self._filled(variant) for variant in variants)

    def _filled(self, fields: Mapping[str, str]) -> str:
        template = self.text.removesuffix(f"{{{self.tail}}}") if self.tail else self.text

        def value(found: re.Match[str]) -> str:
            name = found[1].partition(":")[0]
            if name != "dt":
                return fields[name]
            day = {part: int(fields.get(part, 1)) for part in ("year", "month", "day")}
            clock = {part: int(fields.get(part, 0)) for part in ("hour", "minute")}
            return _written(datetime(**day, **clock, tzinfo=UTC), self.date_format)

        return _FIELD.sub(value, template)

    def object_name(self, key: str) -> str:
        """What an object is called where each is a partition of its own: its variable part."""
        end = len(key) - len(self.suffix)
        return key[len(self.prefix) : end] or key

    def object_key(self, name: str) -> str:
        """The key of the object to which `object_name` gives this name."""
        return f"{self.prefix}{name}{self.suffix}"


@cache
def parse_pattern(text: str) -> KeyPattern:
    """Parse a `key:`.

    Raises:
        ValueError: the message says what is wrong with it.
    """
    if text.startswith("/") or "//" in text:
        raise ValueError("has an empty path segment")
    if re.search(r"[{}]", _FIELD.sub("", text)):
        raise ValueError("has a brace that closes nothing")
    if "*" in _FIELD.sub("", text):
        raise ValueError(
            "`*` is not a wildcard in key: name what varies, e.g. {region}; {file} or {path}"
            " at the end stands for the rest"
        )
    fields = _FIELD.findall(text)
    names = [field.partition(":")[0] for field in fields]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"has {{{name}}} {names.count(name)} times")
        if not _NAME.fullmatch(name):
            raise ValueError(f"{{{name}}} is not a field's name: a-z, 0-9 and _")
        if name in RESERVED:
            raise ValueError(f"{{{name}}} is a parameter's name: call the dimension otherwise")
    if not names:
        raise ValueError("needs a field: {dt}, {year}, a dimension, or {file} at its end")
    tail = names[-1] if names[-1] in _TAILS and text.endswith(f"{{{names[-1]}}}") else ""
    if any(name in _TAILS for name in names[: len(names) - bool(tail)]):
        raise ValueError("{file} or {path} can only stand at the end")
    date_format, date_regex, grain = _date(fields)
    grain = _grain(names, grain)
    literals = _FIELD.split(text)
    return KeyPattern(
        text=text,
        regex=re.compile("".join(_compiled(text, date_regex)), re.ASCII | re.DOTALL),
        prefix=literals[0],
        suffix=literals[-1],
        grain=grain,
        dimensions=tuple(n for n in names if n not in (*_TAILS, "dt", *_PARTS)),
        tail=tail,
        date_format=date_format,
    )


# A listing names each of its dates as often as it has objects of it.
@lru_cache(maxsize=4096)
def _read(text: str, form: str) -> datetime:
    """A date as it is written.

    Raises:
        ValueError: it is not a date, or is not in its canonical form.
    """
    moment = datetime.strptime(text, form).replace(tzinfo=UTC)
    if _written(moment, form).lower() != text.lower():
        raise ValueError(text)
    return moment


@lru_cache(maxsize=4096)
def _written(moment: datetime | date, form: str) -> str:
    # The C library writes the year 1 as `1`.
    return moment.strftime(form.replace("%Y", f"{moment.year:04d}"))


def _compiled(text: str, date_regex: str) -> Iterator[str]:
    for place, piece in enumerate(_FIELD.split(text)):
        if place % 2 == 0:
            yield re.escape(piece)
            continue
        name = piece.partition(":")[0]
        inner = {"dt": date_regex, "file": r"[^/]+", "path": r".+", **_PARTS}.get(name, r"[^/]+?")
        yield f"(?P<{name}>{inner})"


def _date(fields: list[str]) -> tuple[str, str, Grain | None]:
    """The format of `{dt}`, its regular expression, and its grain."""
    for field in fields:
        name, colon, _ = field.partition(":")
        if colon and name != "dt":
            raise ValueError(f"{{{field}}}: only {{dt}} takes a format")
    found = [field for field in fields if field.partition(":")[0] == "dt"]
    if not found:
        return "", "", None
    date_format = found[0].partition(":")[2] or "%Y-%m-%d"
    regex, grains = "", []
    pieces = re.split(r"%(.)", date_format, flags=re.DOTALL)
    for place, piece in enumerate(pieces):
        if place % 2 == 0:
            regex += re.escape(piece)
            continue
        if piece not in _DIRECTIVES:
            known = " ".join(f"%{word}" for word in _DIRECTIVES)
            raise ValueError(f"{{dt:{date_format}}}: %{piece} is not read (known: {known})")
        expression, grain = _DIRECTIVES[piece]
        regex += expression
        grains += [grain] if grain else []
    if "day" in grains and "%j" in date_format:
        grains.append("month")
    _refuse_gap(grains, f"{{dt:{date_format}}}")
    return date_format, regex, max(grains, key=GRAINS.index)


def _grain(names: list[str], of_date: Grain | None) -> Grain | None:
    own: list[Grain] = [part for part in GRAINS if part in names]
    if of_date is None:
        if own:
            _refuse_gap(own, " ".join(f"{{{part}}}" for part in own))
        return own[-1] if own else None
    dated = GRAINS[: GRAINS.index(of_date) + 1]
    if any(part in dated for part in own):
        raise ValueError(f"says {own[0]} twice: {{dt}} has it already")
    _refuse_gap([*dated, *own], "{dt} " + " ".join(f"{{{part}}}" for part in own))
    return own[-1] if own else of_date


def _refuse_gap(grains: list[Grain], what: str) -> None:
    if not grains:
        raise ValueError(f"{what} says no time")
    for part in GRAINS[: max(GRAINS.index(grain) for grain in grains)]:
        if part not in grains:
            raise ValueError(f"{what} lacks the {part}")
