"""The console script; `python -m quicksilver.cli.main` without an installed one."""

import logging

from quicksilver.cli import app
from quicksilver.support.log import configure_logging


def main() -> None:
    """Run the command. Its output is for the caller: only errors are logged, to stderr."""
    configure_logging("text")
    logging.getLogger().setLevel(logging.ERROR)
    app()


if __name__ == "__main__":
    main()
