"""What each part is like, as the running service says it in `/readyz`."""

from typing import Any

import httpx
from rich.text import Text

from quicksilver.settings import Settings
from quicksilver.support.text import escape_control_characters

# Longer than the service itself waits for a part that hangs.
_ANSWER_WITHIN = 6.0


async def ask_parts(settings: Settings) -> list[dict[str, Any]]:
    """The parts as the service sees them; the service alone, in trouble, if it does not answer."""
    try:
        async with httpx.AsyncClient(timeout=_ANSWER_WITHIN, trust_env=False) as client:
            answer = await client.get(f"{settings.url}/readyz")
            parts: list[dict[str, Any]] = answer.json()["parts"]
    except (httpx.HTTPError, ValueError, KeyError) as error:
        said = str(error).strip().split("\n")[0] or type(error).__name__
        return [
            {
                "name": "service",
                "state": "trouble",
                "sentence": f"{settings.url} does not answer: {said}",
                "fix": "quicksilver serve, or set QUICKSILVER_URL",
                "since": None,
                "seen_at": None,
            }
        ]
    return parts


def parts_lines(parts: list[dict[str, Any]]) -> Text:
    """A line for each part in trouble; one for all when there is none."""
    lines = [
        Text.assemble(
            (f"{part['name']}: ", "bold red"),
            escape_control_characters(part["sentence"]),
            f"\n  fix: {part['fix']}" if part["fix"] else "",
        )
        for part in parts
        if part["state"] == "trouble"
    ]
    return Text("\n").join(lines) if lines else Text("every part answers", "green")
