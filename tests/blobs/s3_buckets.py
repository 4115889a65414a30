"""Buckets for the S3 tests."""

from typing import Any
from uuid import uuid4

from dr_pipelines.blobs.s3 import S3BlobStore, open_s3
from dr_pipelines.blobs.s3_client import open_client


def opened(
    endpoint: str,
    bucket: str,
    access_key: str = "test",
    secret_key: str = "test",
    *,
    prefix: str = "backups/one",
) -> S3BlobStore:
    url = f"s3://{bucket}/{prefix}?endpoint={endpoint}&region=us-east-1"
    return open_s3(url, {"AWS_ACCESS_KEY_ID": access_key, "AWS_SECRET_ACCESS_KEY": secret_key})


def client_of(endpoint: str, access_key: str = "test", secret_key: str = "test") -> Any:
    """For several stores over one client: making one takes longer than most tests."""
    keys = {"AWS_ACCESS_KEY_ID": access_key, "AWS_SECRET_ACCESS_KEY": secret_key}
    return open_client(endpoint=endpoint, region="us-east-1", environ=keys)


def new_bucket(client: Any, *, versioned: bool = False) -> str:
    name = f"bucket-{uuid4().hex[:12]}"
    client.create_bucket(Bucket=name)
    if versioned:
        client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    return name
