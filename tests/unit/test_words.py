"""The glossary's table of words that are said in one way holds wherever people read."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.checkout import PROJECT

GLOSSARY = PROJECT / "docs" / "glossary.md"
_SHOWN = {
    "service": ("*.py", "*.html", "*.js", "*.sql"),
    "flows": ("*.py",),
    "docs": ("*.md",),
    "compose": ("*.md", "*.yml", "*.yaml", "*.json"),
}


def avoided() -> list[tuple[str, str]]:
    """What to say, and a phrase that is said in its place nowhere."""
    table = GLOSSARY.read_text(encoding="utf-8").split("\n## Said in one way\n")[1]
    rows = re.findall(r"^\| (?!say|---)(.+?) \| (.+?) \|$", table, re.MULTILINE)
    return [(say, phrase) for say, phrases in rows for phrase in phrases.split(", ")]


def shown() -> Iterator[Path]:
    """Every file that holds words for people. Migrations stay as they were applied."""
    yield PROJECT / "README.md"
    for folder, names in _SHOWN.items():
        for name in names:
            for path in (PROJECT / folder).rglob(name):
                if path != GLOSSARY and "migrations" not in path.parts:
                    yield path


TEXTS = {path: path.read_text(encoding="utf-8") for path in shown()}


@pytest.mark.parametrize(("say", "phrase"), avoided())
def test_a_thing_has_one_word(say: str, phrase: str) -> None:
    found = re.compile(rf"\b{re.escape(phrase)}\b", re.IGNORECASE)
    places = [str(path.relative_to(PROJECT)) for path, text in TEXTS.items() if found.search(text)]
    assert not places, f"say {say!r}"
