"""How the pages format spans, moments, numbers and bytes."""

from datetime import datetime, timedelta

from quicksilver.support import clock


def span(seconds: float | timedelta | None) -> str:
    """A length of time in the two units that matter: `3 ms`, `1.24 s`, `2 min 3 s`, `4 d 2 h`."""
    if seconds is None:
        return "–"  # noqa: RUF001 - an en dash for "nothing"
    if isinstance(seconds, timedelta):
        seconds = seconds.total_seconds()
    if seconds < 0:
        return f"-{span(-seconds)}"
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 59.995:
        return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.1f} s"
    whole = round(seconds)
    for size, unit, part_size, part in (
        (86400, "d", 3600, "h"),
        (3600, "h", 60, "min"),
        (60, "min", 1, "s"),
    ):
        if whole >= size:
            rest = whole % size // part_size
            return f"{whole // size} {unit}" + (f" {rest} {part}" if rest else "")
    return f"{whole} s"


def age(moment: datetime | None) -> str:
    """How long ago, in one unit: a list is read for its order of magnitude."""
    if moment is None:
        return ""
    seconds = max(0, int((clock.now() - moment).total_seconds()))
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def moment(value: datetime | None) -> str:
    """A moment in UTC, to the millisecond."""
    if value is None:
        return ""
    return f"{value:%Y-%m-%d %H:%M:%S}.{value.microsecond // 1000:03d}"


def number(value: float | None) -> str:
    """A number with thousands set off."""
    return "–" if value is None else f"{value:,}"  # noqa: RUF001 - an en dash for "nothing"


def share(part: int, whole: int) -> str:
    """A part of a whole in percent; never 100 % while anything is missing."""
    if not whole:
        return "–"  # noqa: RUF001 - an en dash for "nothing"
    percent = 100 * part / whole
    if part != whole:
        percent = min(percent, 99.9)
    return f"{percent:.0f} %" if percent in (0, 100) else f"{percent:.1f} %"


def size(value: int | None) -> str:
    """Bytes, in the unit that leaves up to four digits."""
    if value is None:
        return ""
    amount = float(value)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} TiB"


def hex_dump(body: bytes) -> str:
    """Bytes as offset, hexadecimal and printable ASCII, sixteen a line."""
    lines: list[str] = []
    for start in range(0, len(body), 16):
        chunk = body[start : start + 16]
        text = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in chunk)
        lines.append(f"{start:08x}  {chunk.hex(' '):<47}  {text}")
    return "\n".join(lines)
