"""What the real servers of the tests are to a test: where they are, and what it may ask of them."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql

from quicksilver.stack import EmbeddedStack, Home

# Short: below it lie unix sockets, whose paths may have 107 bytes.
HOMES = Path(tempfile.mkdtemp(prefix="qs-"))
# As most projects' folders are: for root, whose Postgres runs as another account, it matters.
HOMES.chmod(0o711)


@dataclass(frozen=True)
class Postgres:
    """A running embedded Postgres with the databases and roles of the stack."""

    home: Home
    stack: EmbeddedStack

    @property
    def admin_url(self) -> str:
        """The database `postgres`, as its administrator."""
        return self.home.database_url("postgres", admin=True)

    def url(self, database: str, role: str) -> str:
        """Any database, as the role `ledger`, `warehouse` or `prefect`."""
        return self.home.database_url(role).rpartition("/")[0] + f"/{database}"

    def create_database(self, name: str, owner: str, template: str = "template1") -> str:
        """Make a database that `owner` owns; its URL as that role."""
        statement = sql.SQL("create database {} owner {} template {}").format(
            sql.Identifier(name), sql.Identifier(owner), sql.Identifier(template)
        )
        with psycopg.connect(self.admin_url, autocommit=True) as admin:
            admin.execute(statement)
        return self.url(name, owner)

    def drop_database(self, name: str) -> None:
        """Drop a database, even with clients connected to it."""
        statement = sql.SQL("drop database if exists {} with (force)")
        with psycopg.connect(self.admin_url, autocommit=True) as admin:
            admin.execute(statement.format(sql.Identifier(name)))


@dataclass(frozen=True)
class MinioServer:
    """A running MinIO, its webhook lanes pointing at `receiver_url` (where no process listens)."""

    endpoint_url: str
    access_key: str
    secret_key: str
    receiver_url: str
    fast_token: str
    durable_token: str
    stack: EmbeddedStack


def spare_the_disk(home: Home) -> None:
    """Have a Postgres not wait for its disk: what these tests make needs to outlive a killed
    process, which it does, but not the machine. Making a database is ten times as fast."""
    with psycopg.connect(home.database_url("postgres", admin=True), autocommit=True) as admin:
        for name in ("fsync", "full_page_writes"):
            admin.execute(sql.SQL("alter system set {} = off").format(sql.Identifier(name)))
        admin.execute("select pg_reload_conf()")
