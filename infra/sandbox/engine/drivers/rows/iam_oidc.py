"""IAM's providers of OpenID Connect identities."""

from __future__ import annotations

from typing import Final

from infra.sandbox.engine.drivers.row import Call, Row, Scope, Tagging, Update
from infra.sandbox.engine.wire import PropertyValue

_ARN: Final = "OpenIDConnectProviderArn"
_KEY: Final = {_ARN: "$id"}
SCHEME: Final = "https://"


def _set_clients(scope: Scope) -> None:
    """Make the clients exactly those given, one call each."""
    before = set(scope.old.get("clientIdLists") or [])
    after = set(scope.props.get("clientIdLists") or [])
    for client in sorted(after - before):
        args = {_ARN: scope.id, "ClientID": client}
        scope.call("add_client_id_to_open_id_connect_provider", args)
    for client in sorted(before - after):
        args = {_ARN: scope.id, "ClientID": client}
        scope.call("remove_client_id_from_open_id_connect_provider", args)


def _host(url: PropertyValue) -> PropertyValue:
    """Leave out the scheme, as IAM does."""
    return url.removeprefix(SCHEME) if isinstance(url, str) else url


OPEN_ID_CONNECT_PROVIDER: Final = Row(
    label="IAM OIDC Provider",
    service="iam",
    global_=True,
    create=Call("create_open_id_connect_provider", matching=True),
    id=f"out.{_ARN}",
    # IAM answers without saying which one it is.
    read=Call("get_open_id_connect_provider", _KEY),
    delete=Call("delete_open_id_connect_provider", _KEY),
    updates=(
        Update(("clientIdLists",), _set_clients),
        Update(
            ("thumbprintLists",),
            Call(
                "update_open_id_connect_provider_thumbprint",
                {**_KEY, "ThumbprintList": "$thumbprintLists"},
            ),
        ),
    ),
    forces=("url",),
    names={"clientIdLists": "ClientIDList", "thumbprintLists": "ThumbprintList"},
    computed=("thumbprintLists",),
    canon={"url": _host},
    required=("clientIdLists", "url"),
    outputs=("arn",),
    reads={"arn": "id"},
    tags=Tagging(
        create="Tags",
        add=Call("tag_open_id_connect_provider", {**_KEY, "Tags": "$added"}),
        remove=Call("untag_open_id_connect_provider", {**_KEY, "TagKeys": "$removed"}),
    ),
    listing=Call("list_open_id_connect_providers", {}, "OpenIDConnectProviderList[].Arn"),
)

ROWS: Final[dict[str, Row]] = {
    "aws:iam/openIdConnectProvider:OpenIdConnectProvider": OPEN_ID_CONNECT_PROVIDER
}
