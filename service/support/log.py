"""Logs: JSON lines for machines, readable text when a terminal is attached."""

import logging
import sys

import structlog

# A run's process belongs to Prefect, which configures the root logger itself.
_OURS = ("quicksilver",)


def configure_logging(log_format: str = "auto") -> None:
    """Set up structlog and the standard library's loggers, once, at a program's start.

    `log_format` is `json`, `text` or `auto` (text on a terminal).
    """
    root = logging.getLogger()
    root.handlers = [_handler(log_format)]
    root.setLevel(logging.INFO)
    # One line a request is the hot path's largest cost, and the metrics say the same.
    for name in ("uvicorn.access", "httpx", "httpcore"):
        logging.getLogger(name).setLevel(logging.WARNING)


def configure_run_logging(log_format: str = "auto") -> None:
    """Set up Quicksilver's own loggers in a flow run's process, unless that was done already."""
    if structlog.is_configured():
        return
    handler = _handler(log_format)
    for name in _OURS:
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.setLevel(logging.INFO)
        logger.propagate = False


def _handler(log_format: str) -> logging.Handler:
    is_text = log_format == "text" or (log_format == "auto" and sys.stderr.isatty())
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    renderer: list[structlog.typing.Processor] = (
        # Rich's tracebacks print every frame's locals, a database's password among them.
        [structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
        if is_text
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderer],
        )
    )
    return handler
