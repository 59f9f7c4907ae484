"""The parameters that are there, compared with a backup's: one that is spoilt spoils no other."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import boto3
import pytest
from botocore.stub import Stubber

from ops.backup import parameters
from ops.errors import IncompleteError

if TYPE_CHECKING:
    from ops.access import Access


@pytest.fixture
def ssm() -> Any:
    """A client that asks nobody."""
    return boto3.client(
        "ssm", region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b"
    )


def live(ssm: Any, *names: str) -> dict[str, str | None]:
    """Give what is there of these parameters."""
    access = SimpleNamespace(environment="dev", client=lambda _service: ssm)
    return parameters.live(cast("Access", access), names)


def answer(*names: str) -> dict[str, Any]:
    """What SSM gives."""
    return {"Parameters": [{"Name": name, "Value": f"of {name}"} for name in names]}


def test_ten_are_asked_for_at_once(ssm: Any) -> None:
    names = [f"/dev/mono-repo/{number}" for number in range(12)]
    with Stubber(ssm) as stub:
        stub.add_response("get_parameters", answer(*names[:10]))
        stub.add_response("get_parameters", answer(names[10]))
        assert live(ssm, *names) == {name: f"of {name}" for name in names[:11]}


def test_one_under_a_disabled_key_is_told_apart_from_the_others(ssm: Any) -> None:
    with Stubber(ssm) as stub:
        stub.add_client_error("get_parameters", "InvalidKeyId")
        stub.add_response("get_parameters", answer("/a"))
        stub.add_client_error("get_parameters", "InvalidKeyId")
        stub.add_response("get_parameters", answer())
        assert live(ssm, "/a", "/spoilt", "/missing") == {"/a": "of /a", "/spoilt": None}


def test_what_may_not_be_read_is_no_evidence(ssm: Any) -> None:
    with Stubber(ssm) as stub:
        stub.add_client_error("get_parameters", "AccessDeniedException")
        with pytest.raises(IncompleteError, match="AccessDenied"):
            live(ssm, "/a")
