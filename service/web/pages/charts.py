"""Numbers as bars of an inline SVG, 100 wide and 32 high. Pure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

_WIDTH = 100.0
_HEIGHT = 32.0

# A value that is tiny beside the greatest must still be visible.
_LEAST = 0.6


@dataclass(frozen=True, slots=True)
class Point:
    """One number with its label; None leaves a gap. `kind` is a CSS class."""

    value: float | None
    label: str
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Bar:
    """A point's place."""

    left: float
    width: float
    height: float
    label: str
    kind: str


@dataclass(frozen=True, slots=True)
class Chart:
    """Bars from left to right, and their description in words."""

    bars: Sequence[Bar]
    said: str


def chart(points: Sequence[Point], say: Callable[[float], str]) -> Chart:
    """The points as bars, the greatest as high as the chart; `say` puts a value into words."""
    values = [point.value for point in points if point.value is not None]
    if not values:
        return Chart([], "nothing yet")
    top = max(values)
    step = _WIDTH / len(points)
    bars = [
        Bar(
            round(index * step + step * 0.1, 3),
            round(step * 0.8, 3),
            round(max(_LEAST, _HEIGHT * point.value / top) if top > 0 else _LEAST, 3),
            point.label,
            point.kind,
        )
        for index, point in enumerate(points)
        if point.value is not None
    ]
    ordered = sorted(values)
    middle = ordered[len(ordered) // 2]
    said = f"{say(values[-1])} last, {say(middle)} in the middle, {say(top)} at most"
    return Chart(bars, said)
