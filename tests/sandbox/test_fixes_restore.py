"""A versioned bucket lists no folder whose objects are all deleted."""

from __future__ import annotations

import pytest

from infra.sandbox import servers
from tests.sandbox.listing import Account

pytestmark = pytest.mark.sandbox


def test_a_folder_goes_with_its_last_object_and_its_versions_stay(cloud: servers.Cloud) -> None:
    s3 = Account(cloud, "121212121212").client("s3")
    s3.create_bucket(Bucket="folders")
    s3.put_bucket_versioning(Bucket="folders", VersioningConfiguration={"Status": "Enabled"})
    for key in ("backups/a/1", "backups/b/1"):
        s3.put_object(Bucket="folders", Key=key, Body=b"x")
    s3.delete_object(Bucket="folders", Key="backups/a/1")
    found = s3.list_objects_v2(Bucket="folders", Prefix="backups/", Delimiter="/")
    assert [item["Prefix"] for item in found["CommonPrefixes"]] == ["backups/b/"]
    versions = s3.list_object_versions(Bucket="folders", Prefix="backups/a/")
    assert len(versions["Versions"]) == len(versions["DeleteMarkers"]) == 1
    pages = [*versions["Versions"], *versions["DeleteMarkers"]]
    pages += s3.list_object_versions(Bucket="folders", Prefix="backups/b/")["Versions"]
    for item in pages:
        s3.delete_object(Bucket="folders", Key=item["Key"], VersionId=item["VersionId"])
    s3.delete_bucket(Bucket="folders")
