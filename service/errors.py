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
    """No dataset of that name is declared: a wrong name, or an entry missing in the file."""


class ServiceUnavailableError(QuicksilverError):
    """The running service did not answer a command, or a part that it needs is unavailable."""


class LedgerUnavailableError(QuicksilverError):
    """Postgres did not answer or refused to write (down, disk full): nothing was recorded."""


class LedgerRightsError(QuicksilverError):
    """The ledger's role may not do what was asked: a right is missing, and was never granted."""


class PrefectUnavailableError(QuicksilverError):
    """Prefect's API did not answer: a transient condition, never counted as an attempt."""


class PrefectRefusedError(QuicksilverError):
    """Prefect answered and refused the request: waiting does not help."""


class DeploymentRefusedError(PrefectRefusedError):
    """Prefect refused a run of one deployment: only the datasets that name it are affected."""


class DeploymentNotFoundError(DeploymentRefusedError):
    """The deployment that a dataset names is not known to Prefect."""


class BronzeUnavailableError(QuicksilverError):
    """MinIO did not answer, or refused to list or read."""


class PayloadError(QuicksilverError):
    """The body is authentic but is not a notification that Quicksilver can parse."""


class ManifestChangedError(QuicksilverError):
    """An object of the build's manifest is no longer the one that was listed."""


class FencedError(QuicksilverError):
    """This build no longer holds its partition: a newer build does, or it was given up."""


class BuildRefusedError(QuicksilverError):
    """The partition cannot be built by this run now (another build holds it, or it is unknown)."""


class WarehouseUnavailableError(QuicksilverError):
    """The warehouse's Postgres did not answer: nothing was published."""


class WarehouseLockedError(WarehouseUnavailableError):
    """Another session's lock kept a build or its settlement waiting, until it is released."""


class InputMovedError(QuicksilverError):
    """What a build read beside its own bronze was published anew meanwhile: it is built again."""


class NotOursError(QuicksilverError):
    """An existing schema or table of the warehouse is not Quicksilver's: it was left alone."""

    is_final = True


class BronzeFileError(QuicksilverError):
    """A bronze file cannot become rows as it is; other files are not affected.

    The message names the file, and if known the column and the row (or line).
    """

    is_final = True


class RunMemoryError(BronzeFileError):
    """A bronze file needs more memory than a run may have (`QUICKSILVER_RUN_MEMORY`)."""


class ModelError(QuicksilverError):
    """dbt could not build a model of the partition; silver stays as it was."""


class DataTestError(QuicksilverError):
    """A dbt data test failed; the message names it; silver stays as it was.

    `rows` are some of the failing rows, by column: they hold data, so only operators see them.
    """

    def __init__(self, message: str, rows: Sequence[Mapping[str, str]] = ()) -> None:
        super().__init__(message)
        self.rows = tuple(rows)


# Errors that are not the caller's mistake. A setting is among them: a receiver alone starts
# without the lake's credentials, and may be asked to reconcile.
UNAVAILABLE = (
    LedgerUnavailableError,
    BronzeUnavailableError,
    PrefectUnavailableError,
    SettingsError,
)
