"""Logs: what a traceback shows, and what it must not."""

import subprocess
import sys

import pytest

# A role that breaks with a password among its locals, as the service runs it.
_BREAKS = """
import asyncio, os, sys
from quicksilver.roles.loop import Job, run_job
from quicksilver.support.log import configure_logging

async def role():
    password = os.environ["SECRET"]
    if asyncio.current_task().cancelling() or broke.is_set():
        await asyncio.Event().wait()
    broke.set()
    raise RuntimeError(f"broke off with {len(password)} characters")

async def main():
    task = asyncio.create_task(run_job(Job("settler", role, 60.0)))
    await broke.wait()
    await asyncio.sleep(0)
    task.cancel()

configure_logging(sys.argv[1])
broke = asyncio.Event()
asyncio.run(main())
"""


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_role_that_breaks_shows_no_password(form: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _BREAKS, form],
        env={"SECRET": "s3cr3t"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "RuntimeError: broke off with 6 characters" in done.stderr
    assert "s3cr3t" not in done.stderr
