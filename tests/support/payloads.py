"""Notifications as MinIO sends them, built from what a test cares about."""

from typing import Any

PREFIX = "bronze/nyc_tlc/yellow_tripdata/dt="
KEY = f"{PREFIX}2024-01-01/data.parquet"


def record(
    key: Any = KEY,
    *,
    name: Any = "s3:ObjectCreated:Put",
    bucket: Any = "datasets",
    etag: Any = "d41d8cd98f00b204e9800998ecf8427e",
    version: Any = None,
    size: Any = 1000,
    sequencer: Any = "17A5F1C0DEADBEEF",
    at: Any = "2024-02-01T00:00:00.000Z",
) -> dict[str, Any]:
    """One record, its `key` encoded already; what is None is left out."""
    thing = {"key": key, "eTag": etag, "size": size, "versionId": version, "sequencer": sequencer}
    return {
        "eventVersion": "2.0",
        "eventSource": "minio:s3",
        "awsRegion": "",
        "eventTime": at,
        "eventName": name,
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": "Config",
            "bucket": {"name": bucket, "arn": f"arn:aws:s3:::{bucket}"},
            "object": {field: value for field, value in thing.items() if value is not None},
        },
    }


def notification(*records: Any) -> dict[str, Any]:
    """The whole body, with MinIO's two fields above the records."""
    return {"EventName": "s3:ObjectCreated:Put", "Key": "datasets/key", "Records": list(records)}
