"""Reason codes and states: every place that must know one knows it, and the forgotten is named."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from quicksilver.domain.reasons import Ignored, Reason
from quicksilver.domain.states import BuildState, Needless, PartitionState
from tests.support.checkout import PROJECT

_SERVICE = PROJECT / "service"
_LEDGER = _SERVICE / "ledger"

# The rooms in which a state or a reason decides what happens.
_DECIDING = ("domain", "ledger", "roles", "intake", "orchestrator")

_WORDS = frozenset[str]().union(PartitionState, BuildState, Needless, Reason)


@pytest.mark.parametrize("reason", Reason)
def test_a_reason_has_a_meaning_for_people(reason: Reason) -> None:
    assert reason.meaning.endswith("."), "a sentence in service/domain/reasons.py"


def test_the_glossary_lists_every_reason() -> None:
    glossary = (PROJECT / "docs" / "glossary.md").read_text()
    (line,) = [line for line in glossary.splitlines() if line.startswith("| **reason code**")]
    listed = {code.removesuffix(":…") for code in re.findall(r"`([a-z:…]+)`", line)}
    assert listed == set(Reason), "the line `reason code` of docs/glossary.md"


def test_sql_writes_and_asks_for_known_reasons_alone() -> None:
    written = {
        (code, path.name)
        for path in (*_LEDGER.glob("*.sql"), _LEDGER / "migrations" / "0029_words.sql")
        for text in re.findall(
            r"\breason\s*(?:=|in|like)\s*\(?((?:case[^;]*?end|'[^']*'(?:,\s*)?)+)", path.read_text()
        )
        for code in re.findall(r"'([a-z][a-z:-]*)'", text)
    }
    families = {code.partition(":")[0] for code, _ in written}
    assert {"fired", "superseded", "failed", "settling", "ignored"} <= families, "found nothing"
    unknown = {one for one in written if one[0].partition(":")[0] not in set(Reason)}
    assert unknown == set(), "a code of Reason in service/domain/reasons.py"
    why = {code.partition(":")[2] for code, _ in written if code.startswith(Reason.IGNORED)}
    assert why <= set(Ignored), "a word of Ignored in service/domain/reasons.py"


def _bare_words(path: Path) -> Iterator[str]:
    """Where a module compares with a state or reason that is written out."""
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.Compare):
            continue
        for inner in (n for side in (node.left, *node.comparators) for n in ast.walk(side)):
            if isinstance(inner, ast.Constant) and inner.value in _WORDS:
                subscripts = [n.slice for n in ast.walk(node) if isinstance(n, ast.Subscript)]
                if inner not in subscripts:
                    yield f"{path}:{inner.lineno} {inner.value!r}"


def test_no_bare_word_decides() -> None:
    found = [
        where
        for room in _DECIDING
        for path in (_SERVICE / room).rglob("*.py")
        for where in _bare_words(path)
    ]
    assert found == [], "compare with the enums of service/domain/states.py and reasons.py"


def test_a_bare_word_is_found(tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    module.write_text('if row["state"] in ("waiting", "x") or row["built"] == 3:\n    pass\n')
    assert list(_bare_words(module)) == [f"{module}:1 'waiting'"]


@pytest.mark.parametrize("code", ["ignored:delete", "quarantined:bad-key", "fired"])
def test_the_reason_of_a_code(code: str) -> None:
    assert code.startswith(Reason.of(code))
