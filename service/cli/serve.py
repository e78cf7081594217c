"""`quicksilver serve`: the service in the foreground."""

import asyncio
import gc
from contextlib import suppress

import uvicorn

from quicksilver.cli.groups import RUN
from quicksilver.cli.shared import app, reported
from quicksilver.errors import QuicksilverError, SettingsError
from quicksilver.settings import Settings, load_settings
from quicksilver.support.log import configure_logging

_LOOPBACK = {"127.0.0.1", "localhost", "::1"}


@app.command(rich_help_panel=RUN)
@reported
def serve() -> None:
    """Run the service: receiver, dispatcher, settler and sweep."""
    settings = load_settings()
    refuse_open_doors(settings)
    configure_logging(settings.log_format)
    asyncio.run(serve_until_stopped(settings))


async def serve_until_stopped(settings: Settings) -> None:
    """The service in the foreground; SIGTERM and SIGINT end it in good order.

    Raises:
        QuicksilverError: it cannot start; the message says what to fix.
    """
    from quicksilver.app import create_app, running
    from quicksilver.web.server import server_config

    application = create_app(settings)
    server = uvicorn.Server(server_config(application, settings))
    async with running(application):
        keep_out_of_collections()
        # uvicorn exits like this if it cannot listen; reported when all other tasks have ended.
        with suppress(SystemExit):
            await server.serve()
    if not server.started:
        raise QuicksilverError(
            f"the service cannot listen on {settings.host}:{settings.port}:"
            " is another one running? set QUICKSILVER_PORT"
        )


def keep_out_of_collections() -> None:
    """Exclude the loaded modules from garbage collection: traversing Prefect's modules stops every
    request for a tenth of a second, again and again."""
    gc.collect()
    gc.freeze()


def refuse_open_doors(settings: Settings) -> None:
    """Beyond loopback, operators need a token.

    Raises:
        SettingsError: none is configured.
    """
    if settings.host not in _LOOPBACK and not settings.operator_tokens:
        raise SettingsError(
            f"QUICKSILVER_HOST is {settings.host}, but QUICKSILVER_OPERATOR_TOKENS is empty:"
            " without a token the service binds to loopback only"
        )
