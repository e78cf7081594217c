"""The budget of one PUT as a stacked bar: `bench/budget.svg`, plain text."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

PLOT = Path(__file__).with_name("budget.svg")

_COLOURS = (
    "#4477aa", "#66ccee", "#228833", "#ccbb44", "#ee6677",
    "#aa3377", "#88ccaa", "#3366cc", "#dd8833", "#999999",
)  # fmt: skip
_WIDTH, _LEFT, _BAR = 880, 20, 46


def draw(steps: Mapping[str, float], title: str) -> str:
    """The text of an SVG picture: one bar of all steps (milliseconds), and a legend."""
    total = sum(steps.values())
    scale = (_WIDTH - 2 * _LEFT) / total if total else 0.0
    parts: list[str] = []
    x = float(_LEFT)
    for number, (name, value) in enumerate(steps.items()):
        width = value * scale
        colour = _COLOURS[number % len(_COLOURS)]
        parts.append(
            f'<rect x="{x:.1f}" y="44" width="{width:.1f}" height="{_BAR}" fill="{colour}">'
            f"<title>{name}: {value:.0f} ms</title></rect>"
        )
        if width > 44:
            parts.append(
                f'<text x="{x + width / 2:.1f}" y="72" text-anchor="middle" fill="#fff">'
                f"{name}</text>"
            )
        column, row = number % 5, number // 5
        left, top = _LEFT + column * 168, 112 + row * 22
        parts.append(f'<rect x="{left}" y="{top}" width="12" height="12" fill="{colour}"/>')
        parts.append(f'<text x="{left + 18}" y="{top + 11}">{name} {value:.0f} ms</text>')
        x += width
    height = 124 + -(-len(steps) // 5) * 22
    body = "\n  ".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img"'
        f' aria-label="{title}" font-family="sans-serif" font-size="13">\n'
        f'  <rect width="{_WIDTH}" height="{height}" fill="#fff"/>\n'
        f'  <text x="{_LEFT}" y="28" font-size="15">{title}</text>\n  {body}\n</svg>\n'
    )


def write(steps: Mapping[str, float]) -> None:
    """Write `budget.svg`."""
    total = sum(steps.values()) / 1000
    title = f"From PUT to silver: {total:.2f} s (medians of each step, one 10,000-row month)"
    PLOT.write_text(draw(steps, title), encoding="utf-8")
