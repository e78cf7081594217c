"""Errors of Quicksilver. Each message says what happened, to what, and what to do."""

from collections.abc import Mapping, Sequence
from typing import ClassVar


class QuicksilverError(Exception):
    """Base of every error that Quicksilver raises on purpose."""

    is_final: ClassVar[bool] = False
    """Whether another try of the same content must end the same way: an error of the data."""


class SettingsError(QuicksilverError):
    """A setting is missing or wrong; the start is refused."""


class DatasetsError(QuicksilverError):
    """`datasets.yaml` is wrong; the message carries file, line and reason."""


class NotFoundError(QuicksilverError):
    """Nothing of that name is known: a dataset, a partition, a row in quarantine."""


class UnknownDatasetError(DatasetsError, NotFoundError):
    """A dataset of that name is not declared: a wrong name to a person, a lack of the file else."""


class ServiceUnavailableError(QuicksilverError):
    """The running service, which a command asks, did not answer, or needs a part that is away."""


class LedgerUnavailableError(QuicksilverError):
    """Postgres did not answer or refused to write (down, disk full): nothing was recorded."""


class LedgerRightsError(QuicksilverError):
    """The ledger's role may not do what was asked: a right is missing, and was never granted."""


class PrefectUnavailableError(QuicksilverError):
    """Prefect's API did not answer: a condition that passes, never counted as an attempt."""


class PrefectRefusedError(QuicksilverError):
    """Prefect answered, and refused what was asked: nothing that passes by itself."""


class DeploymentRefusedError(PrefectRefusedError):
    """Prefect refused a run of one deployment: the trouble of the datasets that name it."""


class DeploymentNotFoundError(DeploymentRefusedError):
    """The deployment that a dataset names is not known to Prefect."""


class BronzeUnavailableError(QuicksilverError):
    """MinIO did not answer, or refused to list or read."""


class PayloadError(QuicksilverError):
    """The body is authentic but no notification that Quicksilver understands."""


class ManifestChangedError(QuicksilverError):
    """An object of the build's manifest is no longer the one that was listed."""


class FencedError(QuicksilverError):
    """This build no longer holds its partition: a newer build does, or it was given up."""


class BuildRefusedError(QuicksilverError):
    """The partition cannot be built by this run now (another build holds it, or it is unknown)."""


class WarehouseUnavailableError(QuicksilverError):
    """The warehouse's Postgres did not answer: nothing was published."""


class WarehouseLockedError(WarehouseUnavailableError):
    """A lock that somebody else holds kept a build or its settlement waiting; it passes with it."""


class InputMovedError(QuicksilverError):
    """What a build read beside its own bronze was published anew meanwhile: it is built again."""


class NotOursError(QuicksilverError):
    """A schema or table of the warehouse was there before and is somebody else's: left alone."""

    is_final = True


class BronzeFileError(QuicksilverError):
    """A bronze file cannot become rows as it is: its own fault, and no neighbour's.

    The message names the file, and where there is one the column and the row (or line).
    """

    is_final = True


class RunMemoryError(BronzeFileError):
    """A bronze file needs more memory than a run may have (`QUICKSILVER_RUN_MEMORY`)."""


class ModelError(QuicksilverError):
    """dbt could not build a model of the partition; silver stays as it was."""


class DataTestError(QuicksilverError):
    """A dbt data test failed; the message names it; silver stays as it was.

    `rows` are some that it found fault with, by column: of the data, and so for operators alone.
    """

    def __init__(self, message: str, rows: Sequence[Mapping[str, str]] = ()) -> None:
        super().__init__(message)
        self.rows = tuple(rows)


# What keeps a request from being answered and is nobody's mistake who sent it. A setting among
# them: a receiver alone starts without the lake's credentials, and may be asked to reconcile.
UNAVAILABLE = (
    LedgerUnavailableError,
    BronzeUnavailableError,
    PrefectUnavailableError,
    SettingsError,
)
