"""`python -m service.cli.main`: the console script without an installed script."""

from quicksilver.cli import app

if __name__ == "__main__":
    app()
