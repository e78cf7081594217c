"""Where an object lies, as a person writes it."""


def split_location(text: str) -> tuple[str | None, str]:
    """Bucket and key of `s3://bucket/key`; without the scheme, no bucket and the whole as key."""
    if not text.startswith("s3://"):
        return None, text
    bucket, _, key = text.removeprefix("s3://").partition("/")
    return bucket, key
