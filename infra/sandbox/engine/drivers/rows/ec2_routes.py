"""Route tables, routes and what they are associated with."""

from __future__ import annotations

import zlib
from typing import Any, Final

from infra.sandbox.engine.drivers.row import Call, Row, Scope, Update
from infra.sandbox.engine.drivers.rows.ec2_network import arn, ec2_tags
from infra.sandbox.engine.wire import PropertyMap

DESTINATIONS: Final = {
    "destinationCidrBlock": "DestinationCidrBlock",
    "destinationIpv6CidrBlock": "DestinationIpv6CidrBlock",
    "destinationPrefixListId": "DestinationPrefixListId",
}
TARGETS: Final = {
    "gatewayId": "GatewayId",
    "natGatewayId": "NatGatewayId",
    "networkInterfaceId": "NetworkInterfaceId",
    "transitGatewayId": "TransitGatewayId",
    "vpcPeeringConnectionId": "VpcPeeringConnectionId",
    "egressOnlyGatewayId": "EgressOnlyInternetGatewayId",
    "vpcEndpointId": "VpcEndpointId",
}

ROUTE_TABLE: Final = Row(
    label="Route Table",
    service="ec2",
    create=Call("create_route_table", {"VpcId": "$vpcId"}),
    id="out.RouteTable.RouteTableId",
    read=Call("describe_route_tables", {"RouteTableIds": ["$id"]}, "RouteTables[0]"),
    delete=Call("delete_route_table", {"RouteTableId": "$id"}),
    forces=("vpcId",),
    required=("vpcId",),
    outputs=("arn", "ownerId"),
    reads={"arn": arn("route-table")},
    tags=ec2_tags("route-table"),
    listing=Call(
        "describe_route_tables",
        {"Filters": [{"Name": "vpc-id", "Values": ["$vpcId"]}]},
        "RouteTables[?!(Associations[?Main])].RouteTableId",
    ),
)


def _destination(props: PropertyMap) -> tuple[str, str]:
    key = next((name for name in DESTINATIONS if props.get(name)), "destinationCidrBlock")
    return DESTINATIONS[key], str(props.get(key, ""))


def _route_id(scope: Scope) -> str:
    _, destination = _destination(scope.props)
    return f"r-{scope.props['routeTableId']}{zlib.crc32(destination.encode())}"


def _route_args(scope: Scope) -> dict[str, Any]:
    api_name, destination = _destination(scope.props)
    args = {"RouteTableId": scope.props["routeTableId"], api_name: destination}
    args.update({TARGETS[key]: scope.props[key] for key in TARGETS if scope.props.get(key)})
    return args


def _create_route(scope: Scope) -> str:
    scope.call("create_route", _route_args(scope))
    return _route_id(scope)


def _replace_route(scope: Scope) -> None:
    scope.call("replace_route", _route_args(scope))


def _read_route(scope: Scope) -> dict[str, Any] | None:
    table = scope.props.get("routeTableId")
    if not table:
        return None
    api_name, destination = _destination(scope.props)
    answer = scope.call("describe_route_tables", {"RouteTableIds": [table]})
    routes = answer["RouteTables"][0]["Routes"]
    found = next((route for route in routes if route.get(api_name) == destination), None)
    return {**found, "routeTableId": table} if found else None


def _delete_route(scope: Scope) -> None:
    api_name, destination = _destination(scope.props)
    args = {"RouteTableId": scope.props["routeTableId"], api_name: destination}
    scope.call("delete_route", args)


def _imported_route(id_: str) -> PropertyMap:
    table, _, destination = id_.partition("_")
    kind = "destinationIpv6CidrBlock" if ":" in destination else "destinationCidrBlock"
    if destination.startswith("pl-"):
        kind = "destinationPrefixListId"
    return {"routeTableId": table, kind: destination}


ROUTE: Final = Row(
    label="Route",
    service="ec2",
    create=_create_route,
    id=_route_id,
    read=_read_route,
    delete=_delete_route,
    updates=(Update(tuple(TARGETS), _replace_route),),
    forces=("routeTableId", *DESTINATIONS),
    names={"egressOnlyGatewayId": "EgressOnlyInternetGatewayId"},
    # An endpoint's route has its target under the gateway's name.
    reads={
        "gatewayId": "live.GatewayId && !starts_with(live.GatewayId, 'vpce-') && live.GatewayId"
        " || `null`",
        "vpcEndpointId": "live.GatewayId && starts_with(live.GatewayId, 'vpce-') && live.GatewayId"
        " || `null`",
    },
    required=("routeTableId",),
    outputs=("origin", "state", "instanceId", "instanceOwnerId"),
    imported=_imported_route,
)


def _associate(scope: Scope) -> str:
    args = {"RouteTableId": scope.props["routeTableId"]}
    for key, api_name in (("subnetId", "SubnetId"), ("gatewayId", "GatewayId")):
        if scope.props.get(key):
            args[api_name] = scope.props[key]
    return str(scope.call("associate_route_table", args)["AssociationId"])


def _read_association(scope: Scope) -> dict[str, Any] | None:
    """Find the association by what it associates: replacing the table changes AWS's id of it."""
    subnet, gateway = scope.props.get("subnetId"), scope.props.get("gatewayId")
    name, value = ("association.subnet-id", subnet) if subnet else ("vpc-id", None)
    if gateway and not subnet:
        name, value = "association.gateway-id", gateway
    if value is None:
        name, value = "association.route-table-association-id", scope.id
    answer = scope.call("describe_route_tables", {"Filters": [{"Name": name, "Values": [value]}]})
    for table in answer["RouteTables"]:
        for association in table["Associations"]:
            marks = ("SubnetId", "GatewayId", "RouteTableAssociationId")
            if value in (association.get(mark) for mark in marks):
                return dict(association)
    return None


def _reassociate(scope: Scope) -> None:
    found = _read_association(scope)
    if found is not None:
        args = {
            "AssociationId": found["RouteTableAssociationId"],
            "RouteTableId": scope.props["routeTableId"],
        }
        scope.call("replace_route_table_association", args)


def _disassociate(scope: Scope) -> None:
    found = _read_association(scope)
    if found is not None:
        args = {"AssociationId": found["RouteTableAssociationId"]}
        scope.call("disassociate_route_table", args)


def _association_ids(scope: Scope) -> list[str]:
    found = _read_association(scope)
    return [str(found["RouteTableAssociationId"])] if found else []


def _imported_association(id_: str) -> PropertyMap:
    target, _, table = id_.partition("/")
    kind = "subnetId" if target.startswith("subnet-") else "gatewayId"
    return {kind: target, "routeTableId": table} if table else {}


ROUTE_TABLE_ASSOCIATION: Final = Row(
    label="Route Table Association",
    service="ec2",
    create=_associate,
    read=_read_association,
    delete=_disassociate,
    updates=(Update(("routeTableId",), _reassociate),),
    forces=("subnetId", "gatewayId"),
    required=("routeTableId",),
    imported=_imported_association,
    listing=_association_ids,
)


def _endpoint_association_id(scope: Scope) -> str:
    table = str(scope.props["routeTableId"])
    return f"a-{scope.props['vpcEndpointId']}{zlib.crc32(table.encode())}"


def _add_endpoint_route(scope: Scope) -> str:
    args = {
        "VpcEndpointId": scope.props["vpcEndpointId"],
        "AddRouteTableIds": [scope.props["routeTableId"]],
    }
    scope.call("modify_vpc_endpoint", args)
    return _endpoint_association_id(scope)


def _read_endpoint_route(scope: Scope) -> dict[str, Any] | None:
    endpoint, table = scope.props.get("vpcEndpointId"), scope.props.get("routeTableId")
    if not endpoint or not table:
        return None
    answer = scope.call("describe_vpc_endpoints", {"VpcEndpointIds": [endpoint]})
    tables = answer["VpcEndpoints"][0].get("RouteTableIds", [])
    return {"vpcEndpointId": endpoint, "routeTableId": table} if table in tables else None


def _remove_endpoint_route(scope: Scope) -> None:
    args = {
        "VpcEndpointId": scope.props["vpcEndpointId"],
        "RemoveRouteTableIds": [scope.props["routeTableId"]],
    }
    scope.call("modify_vpc_endpoint", args)


def _imported_endpoint_route(id_: str) -> PropertyMap:
    endpoint, _, table = id_.partition("/")
    return {"vpcEndpointId": endpoint, "routeTableId": table}


ENDPOINT_ROUTE: Final = Row(
    label="VPC Endpoint Route Table Association",
    service="ec2",
    create=_add_endpoint_route,
    id=_endpoint_association_id,
    read=_read_endpoint_route,
    delete=_remove_endpoint_route,
    forces=("vpcEndpointId", "routeTableId"),
    required=("vpcEndpointId", "routeTableId"),
    imported=_imported_endpoint_route,
)

ROWS: Final[dict[str, Row]] = {
    "aws:ec2/routeTable:RouteTable": ROUTE_TABLE,
    "aws:ec2/route:Route": ROUTE,
    "aws:ec2/routeTableAssociation:RouteTableAssociation": ROUTE_TABLE_ASSOCIATION,
    "aws:ec2/vpcEndpointRouteTableAssociation:VpcEndpointRouteTableAssociation": ENDPOINT_ROUTE,
}
