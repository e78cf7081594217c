"""Every reason code that the ledger can write has a meaning that people are shown."""

import re

from quicksilver.operators.explain import MEANING
from tests.support.checkout import PROJECT

_REASON = re.compile(r"\breason\s*(?:=|in)\s*\(?((?:'[^']*'(?:,\s*)?)+)")
_CODE = re.compile(r"'([a-z]+)")


def test_a_reason_without_a_meaning_is_named() -> None:
    written = {
        code: path.name
        for path in (PROJECT / "service" / "ledger").glob("*.sql")
        for found in _REASON.finditer(path.read_text())
        for code in _CODE.findall(found[1])
    }
    assert {"fired", "settling", "superseded", "failed"} <= set(written)
    forgotten = {code: file for code, file in written.items() if code not in MEANING}
    assert forgotten == {}, "give each a sentence in MEANING of service/operators/explain.py"
