"""Make this stack's buckets, users and policies in MinIO; run by its administrator, at any time.

    MINIO_ENDPOINT_URL=… MINIO_ACCESS_KEY=<root> MINIO_SECRET_KEY=… python compose/minio_users.py

The keys of the two users come from files in QUICKSILVER_SECRETS_DIR: READER_ACCESS_KEY and
READER_SECRET_KEY (the service: reads bronze), WRITER_… (the worker: writes bronze too).
"""

import json
import os
import sys
from pathlib import Path

from quicksilver.domain.datasets import load_datasets
from quicksilver.lake.bronze import minio_client
from quicksilver.lake.targets import minio_admin
from quicksilver.settings import load_settings

HERE = Path(__file__).parent
USERS = {"READER": "minio-policy.json", "WRITER": "minio-policy-ingest.json"}


def main() -> int:
    """Returns the process's exit code."""
    settings = load_settings()
    admin, client = minio_admin(settings), minio_client(settings)
    for bucket in {dataset.bucket for dataset in load_datasets(settings.datasets_file).datasets}:
        if not client.bucket_exists(bucket):
            client.make_bucket(bucket)
            print(f"bucket {bucket}: made")
    secrets = Path(os.environ.get("QUICKSILVER_SECRETS_DIR", "/run/secrets"))
    for who, file in USERS.items():
        key = (secrets / f"{who}_ACCESS_KEY").read_text(encoding="utf-8").strip()
        secret = (secrets / f"{who}_SECRET_KEY").read_text(encoding="utf-8").strip()
        policy = f"quicksilver-{who.lower()}"
        admin.policy_add(policy, policy=json.loads((HERE / file).read_text(encoding="utf-8")))
        admin.user_add(key, secret)
        admin.policy_set(policy, user=key)
        print(f"user {key}: policy {policy}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
