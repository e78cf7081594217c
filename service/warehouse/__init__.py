"""The warehouse's Postgres: connections, the fence, tables, and how a build becomes a partition."""

from pathlib import Path

from quicksilver.support.statements import register

register(Path(__file__).parent)
