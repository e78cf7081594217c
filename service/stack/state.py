"""What a stack keeps from one start to the next: credentials, ports, and its running process."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from pathlib import Path

import psutil
from filelock import FileLock
from pydantic import BaseModel, Field, ValidationError

from quicksilver.stack.errors import StackError
from quicksilver.stack.files import private_folder, write_private
from quicksilver.stack.ports import Reservations

DEFAULT_PORTS: Mapping[str, int] = {
    "postgres": 5433,
    "minio": 9000,
    "versity": 7070,
    "prefect": 4200,
    "service": 8420,
}


def _secret() -> str:
    # Hex: needs no quoting in a URL, a shell, an ini file or a header.
    return secrets.token_hex(20)


class Credentials(BaseModel):
    """Every secret of the stack, generated on its first start."""

    stack_id: str = Field(default_factory=lambda: secrets.token_hex(8))
    minio_user: str = Field(default_factory=lambda: f"quicksilver-{secrets.token_hex(4)}")
    minio_password: str = Field(default_factory=_secret)
    postgres_password: str = Field(default_factory=_secret)
    prefect_password: str = Field(default_factory=_secret)
    # `user:password` of Prefect's API and pages; the other one is its database role's.
    prefect_auth: str = Field(default_factory=lambda: f"admin:{_secret()}")
    ledger_password: str = Field(default_factory=_secret)
    warehouse_password: str = Field(default_factory=_secret)
    fast_token: str = Field(default_factory=_secret)
    durable_token: str = Field(default_factory=_secret)
    operator_token: str = Field(default_factory=_secret)
    supervisor_password: str = Field(default_factory=_secret)
    ports: dict[str, int] = Field(default_factory=dict[str, int])
    # The store of the last start: a part's name.
    store: str = "minio"


class ProcessMark(BaseModel):
    """A process, distinguishable from a later one with the same id."""

    pid: int
    started_at: float = Field(description="seconds since the epoch, as the kernel reports it")

    @classmethod
    def of(cls, pid: int) -> ProcessMark:
        """The mark of a running process."""
        return cls(pid=pid, started_at=psutil.Process(pid).create_time())

    @classmethod
    def of_this(cls) -> ProcessMark:
        """The mark of this very process."""
        return cls.of(os.getpid())

    def find(self) -> psutil.Process | None:
        """The process, when it still runs."""
        try:
            process = psutil.Process(self.pid)
            # The clock of the two readings may differ by a tick.
            same = abs(process.create_time() - self.started_at) < 1.0
            alive = same and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return None
        return process if alive else None


class Running(BaseModel):
    """The process that runs the stack of a home now."""

    owner: ProcessMark
    # The supervisor's, which lives until everything below it has ended.
    guardian: ProcessMark | None = None
    # Settings of the user's own MinIO and Prefect, where the stack uses those.
    beside: dict[str, str] | None = None


def load_credentials(folder: Path) -> Credentials | None:
    """The credentials of an earlier start, `None` before the first.

    Raises:
        StackError: when the file is damaged.
    """
    path = folder / "credentials.json"
    try:
        return Credentials.model_validate_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (ValidationError, OSError) as error:
        raise StackError(
            f"{path} cannot be read: bring it back from a copy, or remove {folder} and with it"
            " the embedded stack's data"
        ) from error


def prepare_credentials(
    folder: Path,
    reservations: Reservations,
    *,
    defaults: Mapping[str, int | None] | None = DEFAULT_PORTS,
    store: str = "minio",
) -> Credentials:
    """The credentials of this home, made on the first start, with ports that are free now.

    A port of the last start is kept when it is free. `None` in `defaults`, or for it, draws one.
    `reservations` hold the ports for as long as they are open.

    Raises:
        StackError: when the databases' passwords are gone but the databases are there.
    """
    known = load_credentials(folder)
    if known is None and (folder / "postgres").exists():
        raise StackError(
            f"{folder} has databases, but credentials.json with their passwords is gone: bring it"
            f" back from a copy, or remove {folder} and with it the embedded stack's data"
        )
    credentials = known or Credentials()
    wanted = dict.fromkeys(DEFAULT_PORTS) if defaults is None else dict(defaults)
    ports: dict[str, int] = {}
    for name, usual in wanted.items():
        ports[name] = reservations.take(credentials.ports.get(name, usual))
    credentials = credentials.model_copy(update={"ports": ports, "store": store})
    private_folder(folder / "run")
    write_private(folder / "credentials.json", credentials.model_dump_json(indent=2))
    return credentials


def load_running(folder: Path) -> Running | None:
    """The process that runs this home, `None` without one (a crashed one does not count)."""
    try:
        running = Running.model_validate_json((folder / "run" / "running.json").read_text())
    except (OSError, ValidationError):
        return None
    marks = [running.owner, *([running.guardian] if running.guardian else [])]
    return running if any(mark.find() for mark in marks) else None


def save_running(folder: Path, running: Running) -> None:
    """Record the process that runs this home."""
    write_private(folder / "run" / "running.json", running.model_dump_json())


def home_lock(folder: Path) -> FileLock:
    """The lock of the process that runs this home; the kernel frees it when the process dies."""
    return FileLock(private_folder(folder / "run") / "lock", mode=0o600)
