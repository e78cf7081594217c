"""A request's body, counted while it streams."""

import asyncio

from fastapi import Request

from quicksilver.settings import Settings


class BodyTooLargeError(Exception):
    """The body is over the limit."""


async def read_body(request: Request, limit: int) -> bytes:
    """The body, counted while it streams; a declared length is believed only when it is too large.

    Raises:
        BodyTooLargeError: over `limit` bytes.
        TimeoutError: it was not complete in time: a slow sender would hold the connection.
    """
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and (len(declared) > 18 or int(declared) > limit):
        raise BodyTooLargeError
    body = bytearray()
    settings: Settings = request.app.state.settings
    async with asyncio.timeout(settings.body_seconds):
        async for chunk in request.stream():
            body += chunk
            if len(body) > limit:
                raise BodyTooLargeError
    return bytes(body)
