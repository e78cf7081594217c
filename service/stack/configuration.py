"""The supervisor's configuration file."""

from __future__ import annotations

import math
import os
import shlex
import signal
from collections.abc import Sequence
from pathlib import Path

from quicksilver.stack.home import Home
from quicksilver.stack.program import Program, child_command


def log_name(program: str) -> str:
    """The name of a program's log file."""
    return f"{program}.log"


def supervisor_configuration(home: Home, programs: Sequence[Program]) -> str:
    """The text of `supervisord.conf`; writes each program's specification on the way."""
    # Relative to the home, the supervisor's working directory: some of its settings are
    # expanded once, some twice, so a percent sign in a path could not be written.
    run, logs = Path("run"), Path("logs")
    inside = home.runtime == home.run
    sections: list[tuple[str, dict[str, object]]] = [
        (
            "unix_http_server",
            {
                "file": run / home.socket.name if inside else home.socket,
                "chmod": "0600",
                "username": "quicksilver",
                "password": home.credentials.supervisor_password,
            },
        ),
        (
            "supervisord",
            {
                "logfile": logs / "supervisord.log",
                "logfile_maxbytes": "1MB",
                "logfile_backups": 1,
                "pidfile": run / "supervisord.pid",
                "silent": "true",
                "nocleanup": "true",
                # Otherwise it logs this as if it were a fault.
                **({"user": "root"} if os.geteuid() == 0 else {}),
            },
        ),
        (
            "rpcinterface:supervisor",
            {"supervisor.rpcinterface_factory": ("supervisor.rpcinterface:make_main_rpcinterface")},
        ),
    ]
    for position, program in enumerate(programs):
        name = program.write_specification(home.run)
        sections.append(
            (
                f"program:{program.name}",
                {
                    "command": shlex.join(child_command(run / name)),
                    "priority": position + 1,  # started in this order, stopped in reverse
                    "autostart": "false",
                    "autorestart": "true",
                    "startsecs": 1,
                    # For ever; the pause between two tries grows by a second each time.
                    "startretries": 1_000_000,
                    "stopsignal": program.stop_signal.name.removeprefix("SIG"),
                    "stopwaitsecs": math.ceil(program.stop_within),
                    # Postgres's own children must not get its "fast shutdown" one by one.
                    "stopasgroup": str(program.stop_signal is signal.SIGTERM).lower(),
                    "killasgroup": "true",
                    "redirect_stderr": "true",
                    "stdout_logfile": logs / log_name(program.name),
                    "stdout_logfile_maxbytes": "10MB",
                    "stdout_logfile_backups": 2,
                },
            )
        )
    return "\n".join(
        f"[{title}]\n" + "".join(f"{k}={str(v).replace('%', '%%')}\n" for k, v in body.items())
        for title, body in sections
    )
