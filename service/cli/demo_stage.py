"""What the demo works with: its months, and the running stack as any client reaches it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, cast

import psycopg
from psycopg.rows import dict_row

from quicksilver.errors import QuicksilverError
from quicksilver.settings import Settings
from quicksilver.support.http import local_http_client
from quicksilver.support.prefect_http import prefect_auth

YEAR = 2019
MONTHS = [date(YEAR, month, 1) for month in range(1, 13)]
# Overwritten at the end, with all but its last rows: a correction as TLC publishes them.
CORRECTED = date(YEAR, 7, 1)


class DemoFailedError(QuicksilverError):
    """The demo's result is wrong; the message lists what."""


@dataclass(frozen=True, slots=True)
class Stack:
    """How to reach the running stack."""

    settings: Settings
    env: Mapping[str, str]

    def ledger(self, statement: str, **parameters: Any) -> list[dict[str, Any]]:
        """Rows of the ledger."""
        return _rows(self.env["QUICKSILVER_DATABASE_URL"], statement, parameters)

    def warehouse(self, statement: str, **parameters: Any) -> list[dict[str, Any]]:
        """Rows of the warehouse."""
        return _rows(self.env["QUICKSILVER_WAREHOUSE_URL"], statement, parameters)

    def prefect(self, method: str, path: str, body: Any = None) -> Any:
        """Prefect's own API, as any client may call it."""
        answer = local_http_client().request(
            method,
            f"{self.env['PREFECT_API_URL']}{path}",
            json=body,
            auth=prefect_auth(self.env),
        )
        answer.raise_for_status()
        return answer.json()


def _rows(url: str, statement: str, parameters: dict[str, Any]) -> list[dict[str, Any]]:
    with psycopg.connect(url, row_factory=cast("Any", dict_row)) as connection:
        found = connection.execute(cast("Any", statement), parameters).fetchall()
    return cast("list[dict[str, Any]]", found)
