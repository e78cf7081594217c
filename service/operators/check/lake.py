"""Whether datasets' folders may be listed, and whether their buckets notify of new objects."""

from quicksilver.domain.datasets import Datasets
from quicksilver.lake.bronze import minio_client
from quicksilver.lake.stores import store_of
from quicksilver.operators.buckets import Refusal, has_rules, try_to_list
from quicksilver.operators.check.finding import Finding, Level
from quicksilver.settings import Settings

_LEVELS = {
    # `init` makes it.
    Refusal.NO_BUCKET: Level.WARNING,
    Refusal.RIGHTS: Level.ERROR,
    Refusal.NO_ANSWER: Level.UNCHECKED,
}


async def check_lake(settings: Settings, datasets: Datasets) -> list[Finding]:
    """Findings about each dataset's folder, and about each bucket once."""
    if not settings.minio_access_key or not settings.minio_secret_key.get_secret_value():
        return [
            Finding(
                Level.UNCHECKED,
                "lake",
                "MINIO_ACCESS_KEY and MINIO_SECRET_KEY are not set",
                "`quicksilver up` brings a MinIO of its own; else set them in .env",
            )
        ]
    client = minio_client(settings)
    findings: list[Finding] = []
    listed: dict[str, str] = {}
    missing: set[str] = set()
    for dataset in datasets.datasets:
        if dataset.bucket in missing:
            continue
        where = f"{datasets.path}:{datasets.line_of(dataset.name, 'bucket')}"
        unlisted = await try_to_list(settings, client, dataset)
        if unlisted is None:
            listed.setdefault(dataset.bucket, where)
            continue
        findings.append(Finding(_LEVELS[unlisted.why], where, unlisted.found, unlisted.fix))
        if unlisted.why is Refusal.NO_ANSWER:
            return findings
        if unlisted.why is Refusal.NO_BUCKET:
            missing.add(dataset.bucket)
    for bucket, where in listed.items():
        if settings.store != "minio":
            # Only MinIO shows its configuration; other stores are checked by a canary.
            found = f"bucket {bucket} of {store_of(settings).title} may be listed"
            findings.append(
                Finding(Level.OK, where, f"{found}; `quicksilver doctor` flies canaries")
            )
            continue
        is_told = await has_rules(client, bucket, datasets)
        findings.append(_told(bucket, where, is_told=is_told))
    return findings


def _told(bucket: str, where: str, *, is_told: bool | None) -> Finding:
    if is_told is None:
        return Finding(
            Level.UNCHECKED,
            where,
            f"bucket {bucket} may be listed; its rules may not be read with these credentials",
            "quicksilver doctor: its canary tells",
        )
    if is_told:
        return Finding(Level.OK, where, f"bucket {bucket} tells of what lands")
    return Finding(
        Level.WARNING,
        where,
        f"bucket {bucket} does not tell the service of what lands: the sweep finds it, later",
        "quicksilver init",
    )
