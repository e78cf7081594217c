"""Build one partition by itself, outside a flow run: a batch of one whose error is raised."""

from collections.abc import Sequence

from quicksilver.build.batch import build_batch
from quicksilver.build.result import BuildOutcome, BuildResult
from quicksilver.domain.datasets import Dataset
from quicksilver.domain.manifest import ManifestFile
from quicksilver.domain.partition import Partition
from quicksilver.ledger.rows import BegunBuild
from quicksilver.settings import Settings


async def build_partition(
    settings: Settings,
    dataset: Dataset,
    name: str,
    build_id: int,
    generation: int,
    manifest: Sequence[ManifestFile],
) -> BuildResult:
    """Bring one partition of the warehouse to what the manifest names.

    Raises:
        FencedError: a newer build holds the partition, or this one was given up.
        ManifestChangedError: an object is no longer the one that was listed.
        BronzeFileError: a file is unreadable, or lacks or retypes a required column.
        BronzeUnavailableError, WarehouseUnavailableError: what passes by itself.
        ModelError, DataTestError: dbt; silver is as it was.
    """
    partition = Partition(dataset.name, name)
    build = BegunBuild(build_id, partition, generation, 1, tuple(manifest))
    ended: list[BuildOutcome] = []

    async def tell(_: BegunBuild, outcome: BuildOutcome) -> None:
        ended.append(outcome)

    await build_batch(settings, dataset, [build], tell)
    (outcome,) = ended
    if isinstance(outcome, BuildResult):
        return outcome
    raise outcome
