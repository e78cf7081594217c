"""Writes docs/settings.md out of `.env.example`, so that a setting is described once.

python -m tests.support.settings_page
"""

import re
from collections.abc import Iterator

from tests.support.checkout import PROJECT

PAGE = PROJECT / "docs" / "settings.md"
EXAMPLE = PROJECT / ".env.example"

_INTRO = """\
# Settings

Settings are environment variables. The file `.env` of the project (the folder with
`datasets.yaml`) gives those that the environment does not have, and an empty value counts as not
given. Relative paths are taken from the project. A wrong or missing setting stops the start with
one line that names the variable and never its value. Durations are seconds, sizes bytes.

`quicksilver env` prints the values of a running embedded stack. Secrets may be files
instead: see `QUICKSILVER_SECRETS_DIR`.

This page is written from `.env.example` (`python -m tests.support.settings_page`).
"""


def _settings(text: str) -> Iterator[tuple[str, str, str]]:
    """Each variable, its value in the file and the comment above it."""
    comment: list[str] = []
    for line in text.splitlines():
        found = re.fullmatch(r"(?:# )?([A-Z][A-Z_0-9]+)=(.*)", line)
        if found:
            yield found[1], found[2], " ".join(comment) or "As the variable above."
            comment = []
        elif line.startswith("# "):
            comment.append(line[2:])
        else:
            comment = []


def rendered() -> str:
    """The page, as it ought to be."""
    of_the_file, of_the_environment = EXAMPLE.read_text(encoding="utf-8").split("\n# What follows ")
    parts = [_INTRO]
    for title, text in (
        ("In the environment or in `.env`", of_the_file),
        ("In the environment of a process alone", of_the_environment),
    ):
        parts += [f"## {title}", "", "| variable | what it is | value in `.env.example` |"]
        parts.append("| --- | --- | --- |")
        parts += [
            f"| `{name}` | {what} | {f'`{value}`' if value else ''} |"
            for name, value, what in _settings(text)
        ]
        parts.append("")
    return "\n".join(parts).rstrip() + "\n"


if __name__ == "__main__":
    PAGE.write_text(rendered(), encoding="utf-8")
