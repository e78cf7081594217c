"""One stack's home: where everything lies, and how to reach every part."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from quicksilver.stack.files import private_folder
from quicksilver.stack.ports import LOOPBACK
from quicksilver.stack.state import Credentials
from quicksilver.support.project import PROJECT_VARIABLE, project_folder

# A unix socket's path may have 107 bytes. Below this folder the supervisor binds
# `supervisor.sock.<its pid>`, and Python's multiprocessing `tmp/pymp-xxxxxxxx/listener-xxxxxxxx`.
_SHORT_ENOUGH = 64
# Set in every child's environment, never printed by `quicksilver env`: it distinguishes the
# processes of this home's stack from all others on the machine.
MARKER = "QUICKSILVER_STACK_CHILD"
_SERVICES = ("MINIO_", "PREFECT_")

# Seconds between two polls of the worker. The ledger wakes it for our own runs; a run that another
# client created waits this long at most. Each poll costs Prefect and Postgres 15 ms of a core.
WORKER_POLL = "3"


@dataclass(frozen=True)
class Home:
    """Paths, addresses and environments of one embedded stack."""

    folder: Path
    credentials: Credentials
    # Settings of the user's own MinIO, Prefect or warehouse, where those replace ours.
    beside: Mapping[str, str] | None = None

    @property
    def logs(self) -> Path:
        """Where every program's log file is."""
        return self.folder / "logs"

    @property
    def run(self) -> Path:
        """What is valid for one run alone: specifications, the supervisor's configuration."""
        return self.folder / "run"

    @cached_property
    def runtime(self) -> Path:
        """`run`, or a short private folder elsewhere when the home lies too deep for sockets."""
        if len(os.fsencode(self.run)) <= _SHORT_ENOUGH:
            return self.run
        digest = hashlib.sha256(os.fsencode(self.folder)).hexdigest()[:12]
        name = f"quicksilver-{os.geteuid()}-{digest}"
        return private_folder(Path(tempfile.gettempdir()) / name)

    @property
    def socket(self) -> Path:
        """The supervisor's socket."""
        return self.runtime / "supervisor.sock"

    @property
    def temporary(self) -> Path:
        """`TMPDIR` of every program: Prefect's worker makes a folder of fixed name in it, and in
        the system's folder that belongs to the first user who ran a worker."""
        return self.runtime / "tmp"

    def prepare_temporary(self) -> None:
        """Make `temporary` anew, without what programs that were killed left in it."""
        shutil.rmtree(self.temporary, ignore_errors=True)
        private_folder(self.runtime)
        private_folder(self.temporary)

    def remove_temporary(self) -> None:
        """Remove `temporary`, and the short folder when there is one."""
        shutil.rmtree(self.temporary, ignore_errors=True)
        if self.runtime != self.run:
            shutil.rmtree(self.runtime, ignore_errors=True)

    def port(self, part: str) -> int:
        """The loopback port of a part."""
        return self.credentials.ports[part]

    def _url(self, part: str) -> str:
        return f"http://{LOOPBACK}:{self.port(part)}"

    @property
    def store_url(self) -> str:
        """The endpoint of the store that holds bronze."""
        return self._url(self.credentials.store)

    @property
    def prefect_url(self) -> str:
        """Prefect's API."""
        return f"{self._url('prefect')}/api"

    @property
    def service_url(self) -> str:
        """The service's address."""
        return self._url("service")

    def database_url(self, database: str, *, admin: bool = False) -> str:
        """A database's URL, as its own role or as the administrator (`postgres`).

        A role has the name of its database: `prefect`, `ledger`, `warehouse`.
        """
        role = "postgres" if admin else database
        password = getattr(self.credentials, f"{role}_password")
        return f"postgresql://{role}:{password}@{LOOPBACK}:{self.port('postgres')}/{database}"

    def environment(self) -> dict[str, str]:
        """Every setting that reaches this stack: what `quicksilver env` prints."""
        own = self.credentials
        every = {
            "QUICKSILVER_STORE": self.credentials.store,
            "MINIO_ENDPOINT_URL": self.store_url,
            "MINIO_ACCESS_KEY": own.minio_user,
            "MINIO_SECRET_KEY": own.minio_password,
            "PREFECT_API_URL": self.prefect_url,
            "PREFECT_API_AUTH_STRING": own.prefect_auth,
            "PREFECT_HOME": str(self.folder / "prefect"),
            "QUICKSILVER_POOL": "default",
            "DBT_PROFILES_DIR": str(project_folder() / "analytics"),
            "DBT_PG_HOST": LOOPBACK,
            "DBT_PG_PORT": str(self.port("postgres")),
            "DBT_PG_USER": "warehouse",
            "DBT_PG_PASSWORD": own.warehouse_password,
            "DBT_PG_DBNAME": "warehouse",
            "QUICKSILVER_DATABASE_URL": self.database_url("ledger"),
            "QUICKSILVER_WAREHOUSE_URL": self.database_url("warehouse"),
            "QUICKSILVER_WEBHOOK_TOKENS": f"{own.fast_token},{own.durable_token}",
            "QUICKSILVER_OPERATOR_TOKENS": own.operator_token,
            "QUICKSILVER_URL": self.service_url,
            "QUICKSILVER_HOST": LOOPBACK,
            "QUICKSILVER_PORT": str(self.port("service")),
            "QUICKSILVER_HOME": str(self.folder),
            "PREFECT_WORKER_QUERY_SECONDS": WORKER_POLL,
        }
        if self.beside is None:
            return every
        ours = {k: v for k, v in every.items() if not k.startswith(_SERVICES)}
        return ours | dict(self.beside)

    def base_environment(self) -> dict[str, str]:
        """What a program that needs none of the stack's credentials gets.

        The caller's environment, less what is meant for another MinIO, Prefect, Postgres or dbt;
        telemetry is off, and loopback bypasses any proxy.
        """
        foreign = ("PG", "DBT_") if self.beside is not None else (*_SERVICES, "PG", "DBT_")
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(foreign)}
        commands = str(Path(sys.executable).parent)
        direct = ",".join(filter(None, (inherited.get("NO_PROXY"), LOOPBACK, "localhost")))
        return {
            **inherited,
            MARKER: self.credentials.stack_id,
            PROJECT_VARIABLE: str(project_folder()),
            "PATH": os.pathsep.join((commands, inherited.get("PATH", os.defpath))),
            "TMPDIR": str(self.temporary),
            "PYTHONUNBUFFERED": "1",
            "NO_PROXY": direct,
            "no_proxy": direct,
            "DO_NOT_TRACK": "1",
            "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        }

    def child_environment(self) -> dict[str, str]:
        """What a program that works with every part of the stack gets."""
        return {**self.base_environment(), **self.environment()}
