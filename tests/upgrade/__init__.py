"""Snapshots of the databases as released versions left them, and what bronze held then."""

import json
from pathlib import Path

from ruamel.yaml import YAML

from tests.support.checkout import PROJECT

FOLDER = Path(__file__).parent
DATASET = "nyc_tlc.yellow_tripdata"
# A bucket of its own: nothing else lands there.
BUCKET = "upgrade"
ROWS = 12


def key_of(month: int) -> str:
    """Where bronze holds a month of 2024."""
    return f"bronze/nyc_tlc/yellow_tripdata/dt=2024-{month:02}-01/data.parquet"


def declared(**changes: object) -> str:
    """This version's `datasets.yaml`, one dataset of it alone, in the snapshots' bucket."""
    known = YAML(typ="safe").load(PROJECT / "datasets.yaml")["datasets"][DATASET]
    return json.dumps({"datasets": {DATASET: {**known, "bucket": BUCKET, **changes}}})
