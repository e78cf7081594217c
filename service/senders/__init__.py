"""Whoever tells of objects besides MinIO: AWS S3 through SNS or EventBridge, Ceph, and the like."""
