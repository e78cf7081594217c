"""Bronze lands, silver builds."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from quicksilver.flows.building import building as building

__all__ = ["building"]


def __getattr__(name: str) -> Any:
    # Prefect and the ledger are imported by whoever asks for it, and by no other module of ours.
    if name == "building":
        return importlib.import_module("quicksilver.flows.building").building
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
