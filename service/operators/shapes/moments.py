"""A moment as the API writes it."""

from datetime import datetime
from typing import Annotated

from pydantic import WithJsonSchema

# ISO 8601, in UTC.
Moment = Annotated[str, WithJsonSchema({"type": "string", "format": "date-time"})]


def moment(value: datetime | None) -> str | None:
    """A moment as the API writes it."""
    return value.isoformat() if value else None
