"""The engine notices changed code, and whatever must not be forked."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from quicksilver.engine.sources import Sources

HARNESS = """
import functools, os, sys
sys.path.insert(0, {folder!r})
from quicksilver.engine import preload
os.closerange(3, 1000)
try:
    preload.preload(["subject"], ["hook"], functools.partial(print, flush=True), ())
except preload.DisturbedError as error:
    print("disturbed:", error)
else:
    print("hook called", getattr(sys.modules.get("hook"), "called", 0))
"""


def preloaded(folder: Path, subject: str, hook: str = "called = 0") -> str:
    """What preloading a module with this code says, in a process of its own."""
    (folder / "subject.py").write_text(subject)
    (folder / "hook.py").write_text(hook)
    command = [sys.executable, "-c", HARNESS.format(folder=str(folder))]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize(
    ("subject", "said"),
    [
        ("x = 1", "hook called 0"),
        ("import nowhere_to_be_found", "not preloaded: subject (No module named"),
        ("1 / 0", "not preloaded: subject (ZeroDivisionError"),
        (
            "import threading, time\nthreading.Thread(target=time.sleep, args=(9,), daemon=True)"
            ".start()",
            "disturbed: importing subject left 1 threads",
        ),
        ("import socket\ns = socket.socket()", "disturbed: importing subject left descriptor 3"),
        (
            "import multiprocessing\nlock = multiprocessing.get_context('spawn').Lock()",
            "disturbed: importing subject left descriptor",
        ),
    ],
)
def test_an_import_is_judged_by_what_it_leaves(tmp_path: Path, subject: str, said: str) -> None:
    assert said in preloaded(tmp_path, subject)


HOOK = """
called = 0
def preload():
    global called
    called += 1
    {}
"""


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("pass", "hook called 1"),
        # Quiet from the second time on, like a parser with a cache on disk.
        (
            "from pathlib import Path; p = Path(__file__).with_name('cache');"
            " p.exists() or globals().update(f=p.open('w'))",
            "hook called 1",
        ),
        # A lock between processes starts a helper, which goes once the lock has gone.
        ("import multiprocessing as m; m.get_context('spawn').Lock()", "hook called 1"),
        ("globals().update(f=open(__file__))", "hook.preload() is left out"),
        ("raise OSError('no disk')", "hook.preload() is left out"),
        (
            "import multiprocessing as m; globals().update(l=m.get_context('spawn').Lock())",
            "a lock that all runs would share",
        ),
    ],
)
def test_a_hook_that_is_not_fit_is_left_out(tmp_path: Path, body: str, said: str) -> None:
    assert said in preloaded(tmp_path, "", HOOK.format(body))


def test_every_way_to_change_the_code_is_seen(tmp_path: Path) -> None:
    package = tmp_path / "package"
    package.mkdir()
    module = package / "module.py"
    module.write_text("x = 1")
    sources = Sources([tmp_path, tmp_path / "not there"])
    assert not sources.changed()

    (package / "__pycache__").mkdir()
    (package / "__pycache__" / "module.py").write_text("")
    (package / "notes.txt").write_text("")
    assert not sources.changed()

    module.write_text("x = 22")
    assert sources.changed()

    sources = Sources([tmp_path])
    (package / "model.sql").write_text("select 1")
    assert sources.changed()

    sources = Sources([tmp_path])
    module.unlink()
    assert sources.changed()


def test_of_the_service_only_what_was_imported_is_watched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("engine_sample_used", "engine_sample_unused"):
        (tmp_path / f"{name}.py").write_text("x = 1")
    sources = Sources([], [tmp_path])
    monkeypatch.syspath_prepend(str(tmp_path))
    used = importlib.import_module("engine_sample_used")
    sources.note_imports()
    (tmp_path / "engine_sample_unused.py").write_text("x = 22")
    assert not sources.changed()
    (tmp_path / "engine_sample_used.py").unlink()
    assert sources.changed()
    del sys.modules[used.__name__]


def test_an_edit_settles_once_it_is_over(tmp_path: Path) -> None:
    sources = Sources([tmp_path])
    assert not sources.settled()
    for version in range(2):
        (tmp_path / "a.py").write_text("x" * version)
        assert sources.changed()
        assert not sources.settled()
    assert sources.settled()
