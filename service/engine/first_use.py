"""What Prefect puts off until it is first used, done before the fork instead of in every run."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator

from prefect.logging.handlers import PrefectConsoleHandler
from pydantic import BaseModel

# A run uses some of these; one takes up to 5 ms, all together a tenth of a second.
_MODELS = ("prefect.client.schemas", "prefect.events")


def use_once() -> None:
    """Build the validators of Prefect's models, and print a line as a run's log does."""
    for model in _below(BaseModel):
        if not model.__pydantic_complete__ and model.__module__.startswith(_MODELS):
            model.model_rebuild(raise_errors=False)
    handler = PrefectConsoleHandler(stream=io.StringIO())
    handler.emit(
        logging.LogRecord("prefect.flow_runs", logging.INFO, "", 0, "Flow run 'it'", None, None)
    )


def _below(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    for one in model.__subclasses__():
        yield one
        yield from _below(one)
