"""`python -m quicksilver.worker OPTION …`: `prefect worker start --type quicksilver OPTION …`.

Prefect finds the type also where the package's entry points were installed before it had any.
"""

import sys

from prefect.cli import app

import quicksilver.worker  # registers the type

if __name__ == "__main__":
    sys.argv = ["prefect", "worker", "start", "--type", quicksilver.worker.TYPE, *sys.argv[1:]]
    app()
