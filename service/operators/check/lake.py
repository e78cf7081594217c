"""Whether the buckets are there, may be listed, and tell of what lands."""

import asyncio

import urllib3
from minio.error import MinioException, S3Error

from quicksilver.domain.datasets import Datasets
from quicksilver.lake.bronze import minio_client
from quicksilver.lake.rules import rules_in_place
from quicksilver.operators.check.finding import Finding, Level
from quicksilver.settings import Settings


async def check_lake(settings: Settings, datasets: Datasets) -> list[Finding]:
    """Findings about each bucket that a dataset names."""
    if not settings.minio_access_key or not settings.minio_secret_key.get_secret_value():
        return [
            Finding(
                Level.UNCHECKED,
                "lake",
                "MINIO_ACCESS_KEY and MINIO_SECRET_KEY are not set",
                "`quicksilver up` brings a MinIO of its own; else set them in .env",
            )
        ]
    return await asyncio.to_thread(_buckets, settings, datasets)


def _buckets(settings: Settings, datasets: Datasets) -> list[Finding]:
    client = minio_client(settings)
    findings: list[Finding] = []
    for dataset in {d.bucket: d for d in reversed(datasets.datasets)}.values():
        bucket = dataset.bucket
        where = f"{datasets.path}:{datasets.line_of(dataset.name, 'bucket')}"
        try:
            if not client.bucket_exists(bucket):
                findings.append(
                    Finding(
                        Level.WARNING, where, f"there is no bucket {bucket}", "quicksilver init"
                    )
                )
                continue
            next(iter(client.list_objects(bucket, prefix=dataset.prefix)), None)
        except S3Error as error:
            findings.append(
                Finding(
                    Level.ERROR,
                    where,
                    f"bucket {bucket} may not be listed: {error.code}",
                    "give the credentials the policy that `quicksilver init --plan` prints",
                )
            )
            continue
        except (MinioException, urllib3.exceptions.HTTPError, OSError) as error:
            endpoint = settings.minio_endpoint_url
            return [
                Finding(
                    Level.UNCHECKED,
                    "lake",
                    f"{endpoint} does not answer: {' '.join(str(error).split())}",
                    "start MinIO, or correct MINIO_ENDPOINT_URL",
                )
            ]
        try:
            is_told = rules_in_place(client, bucket, datasets)
        except S3Error as error:
            findings.append(
                Finding(Level.UNCHECKED, where, f"rules of bucket {bucket}: {error.code}")
            )
            continue
        findings.append(
            Finding(Level.OK, where, f"bucket {bucket} tells of what lands")
            if is_told
            else Finding(
                Level.WARNING,
                where,
                f"bucket {bucket} does not tell the service of what lands: the sweep finds it,"
                " later",
                "quicksilver init",
            )
        )
    return findings
