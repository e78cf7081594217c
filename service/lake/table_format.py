"""Whether a folder of the lake is a table of Delta, Iceberg or Hudi.

Such a table says in a log of its own which of its files count: the others are old versions, or
rows that were deleted. Read as a plain folder, they would count twice or come back.
"""

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

import urllib3
from minio import Minio
from minio.error import MinioException, S3Error

from quicksilver.errors import BronzeFileError, BronzeUnavailableError

# What lies in a table's folder, and what of it proves the format.
_LOGS = (
    ("_delta_log/", "", "Delta Lake"),
    ("metadata/", ".metadata.json", "Apache Iceberg"),
    # `.hoodie/` above, `.hoodie_partition_metadata` in the partition.
    (".hoodie", "", "Apache Hudi"),
)
# The name `metadata` proves nothing; Iceberg's folder holds one metadata file per commit, beside
# at most a few manifests each.
_LOOKED_AT = 200
# Folders above a partition are few: one request per folder and format, all at once.
_AT_ONCE = 8


def refuse_table_formats(client: Minio, bucket: str, keys: Iterable[str]) -> None:
    """Look above and in the folders of these keys.

    A lake that does not allow listing is not checked.

    Raises:
        BronzeFileError: they are files of such a table.
        BronzeUnavailableError: the lake did not answer.
    """
    asked = [(folder, *log) for folder in _folders(keys) for log in _LOGS]

    def proof(ask: tuple[str, str, str, str]) -> str | None:
        return _first(client, bucket, ask[0] + ask[1], ask[2])

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for (folder, _, _, engine), found in zip(asked, pool.map(proof, asked), strict=True):
            if found is not None:
                raise BronzeFileError(
                    f"s3://{bucket}/{folder} is a table of {engine} ({found} is there): only its"
                    " log says which of its files count; read it with its own engine, and let that"
                    " write plain files for Quicksilver"
                )


def _folders(keys: Iterable[str]) -> Sequence[str]:
    """The keys' folders and all above, the bucket's root first."""
    found: set[str] = {""}
    for key in keys:
        segments = key.split("/")[:-1]
        found |= {"/".join(segments[: at + 1]) + "/" for at in range(len(segments))}
    return sorted(found)


def _first(client: Minio, bucket: str, prefix: str, ending: str) -> str | None:
    try:
        listed = client.list_objects(bucket, prefix=prefix, recursive=True)
        names = (item.object_name or "" for item in islice(listed, _LOOKED_AT))
        return next((name for name in names if name.endswith(ending)), None)
    except S3Error as error:
        if error.code == "AccessDenied":
            return None
        raise BronzeUnavailableError(
            f"s3://{bucket}/{prefix} cannot be listed: {error.code}: {error.message}"
        ) from error
    except (MinioException, urllib3.exceptions.HTTPError, OSError) as error:
        raise BronzeUnavailableError(f"s3://{bucket}/{prefix} cannot be listed: {error}") from error
