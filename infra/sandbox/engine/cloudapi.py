"""The engine's own clients of the sandbox's cloud: for state in a bucket, and for keys."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from infra.sandbox.engine.drivers.api import LOOPBACK

_KEYS: Final = (
    "AWS_ENDPOINT_URL",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
)


class CloudError(Exception):
    """There is no cloud of the sandbox's to ask."""


def client(service: str, region: str, environment: Mapping[str, str]) -> Any:
    """Give a client of a service of the sandbox's cloud; never one of AWS itself."""
    endpoint, *keys = (environment.get(name, "") for name in _KEYS)
    if urlsplit(endpoint).hostname not in LOOPBACK:
        raise CloudError(
            "the sandbox's cloud is not running: expected AWS_ENDPOINT_URL on this machine, found "
            f"{endpoint or 'nothing'}"
        )
    return _client(service, region, endpoint, *keys)


@functools.cache
def _client(
    service: str, region: str, endpoint: str, access_key: str, secret_key: str, token: str
) -> Any:
    import boto3  # slow to load
    from botocore.config import Config

    from infra.sandbox.servers import isolated_session

    return boto3.Session(botocore_session=isolated_session()).client(
        service,
        region_name=region,
        endpoint_url=endpoint,
        aws_access_key_id=access_key,
        aws_secret_access_key=secret_key,
        aws_session_token=token or None,
        config=Config(connect_timeout=5, read_timeout=60),
    )
