"""Every SQL statement that the code runs stands in a file under that name, and every one is run."""

import re

from tests.support.checkout import PROJECT

_CALLS = re.compile(r'(?:tx\.(?:run|fetch|one)|statement)\(\s*"(\w+)"')
_NAMES = re.compile(r"^-- name: (\w+)$", re.MULTILINE)


def _sources(pattern: str) -> str:
    rooms = (PROJECT / "service", PROJECT / "flows")
    return "\n".join(
        path.read_text(encoding="utf-8") for room in rooms for path in sorted(room.rglob(pattern))
    )


def test_what_is_run_is_there() -> None:
    code, names = _sources("*.py"), set(_NAMES.findall(_sources("*.sql")))
    assert set(_CALLS.findall(code)) - names == set()


def test_what_is_there_is_run() -> None:
    code = _sources("*.py")
    assert [name for name in _NAMES.findall(_sources("*.sql")) if f'"{name}"' not in code] == []
