"""Who may use an EKS cluster, and which roles its service accounts have."""

from __future__ import annotations

from typing import Any, Final

from infra.sandbox.engine.drivers.row import Call, Row, Scope, Tagging, Update
from infra.sandbox.engine.wire import PropertyMap


def eks_tags(arn: str) -> Tagging:
    """Tag a part of a cluster; `arn` is the output that names it."""
    return Tagging(
        create="tags",
        form="map",
        add=Call("tag_resource", {"resourceArn": f"${arn}", "tags": "$added"}),
        remove=Call("untag_resource", {"resourceArn": f"${arn}", "tagKeys": "$removed"}),
    )


_ENTRY: Final = {"clusterName": "$clusterName", "principalArn": "$principalArn"}


def _imported_entry(id_: str) -> PropertyMap:
    cluster, _, principal = id_.partition(":")
    return {"clusterName": cluster, "principalArn": principal}


ACCESS_ENTRY: Final = Row(
    label="EKS Access Entry",
    service="eks",
    create=Call("create_access_entry", matching=True),
    id="join(':', [props.clusterName, props.principalArn])",
    read=Call("describe_access_entry", _ENTRY, "accessEntry"),
    delete=Call("delete_access_entry", _ENTRY),
    updates=(
        Update(
            ("kubernetesGroups", "userName"),
            Call(
                "update_access_entry",
                {
                    **_ENTRY,
                    "kubernetesGroups": lambda scope: scope.props.get("kubernetesGroups") or [],
                    "username": "$userName",
                },
            ),
        ),
    ),
    forces=("clusterName", "principalArn", "type"),
    defaults={"type": "STANDARD"},
    computed=("userName",),
    required=("clusterName", "principalArn"),
    outputs=("accessEntryArn", "createdAt", "modifiedAt"),
    volatile=("modifiedAt",),
    tags=eks_tags("accessEntryArn"),
    imported=_imported_entry,
)


def _association(scope: Scope) -> dict[str, Any] | None:
    """Find the association of a policy with an access entry."""
    entry = {key: scope.props[key] for key in ("clusterName", "principalArn")}
    answer = scope.call("list_associated_access_policies", entry)
    policy = scope.props["policyArn"]
    for found in answer["associatedAccessPolicies"]:
        if found["policyArn"] == policy:
            return {**entry, **found}
    return None


def _imported_association(id_: str) -> PropertyMap:
    names = ("clusterName", "principalArn", "policyArn")
    return dict(zip(names, id_.split("#"), strict=False))


ACCESS_POLICY_ASSOCIATION: Final = Row(
    label="EKS Access Policy Association",
    service="eks",
    create=Call("associate_access_policy", matching=True),
    id="join('#', [props.clusterName, props.principalArn, props.policyArn])",
    read=_association,
    delete=Call("disassociate_access_policy", {**_ENTRY, "policyArn": "$policyArn"}),
    forces=("accessScope", "clusterName", "policyArn", "principalArn"),
    required=("accessScope", "clusterName", "policyArn", "principalArn"),
    outputs=("associatedAt", "modifiedAt"),
    imported=_imported_association,
)

_IDENTITY: Final = {"clusterName": "$clusterName", "associationId": "$id"}


def _imported_identity(id_: str) -> PropertyMap:
    return {"clusterName": id_.partition(",")[0]}


POD_IDENTITY_ASSOCIATION: Final = Row(
    label="EKS Pod Identity Association",
    service="eks",
    create=Call("create_pod_identity_association", matching=True),
    id="out.association.associationId",
    read=Call(
        "describe_pod_identity_association",
        {
            "clusterName": "$clusterName",
            # As imported, the id names the cluster as well.
            "associationId": lambda scope: scope.id.rpartition(",")[2],
        },
        "association",
    ),
    delete=Call("delete_pod_identity_association", _IDENTITY),
    updates=(
        Update(
            ("disableSessionTags", "roleArn", "targetRoleArn"),
            Call(
                "update_pod_identity_association",
                {
                    **_IDENTITY,
                    "roleArn": "$roleArn",
                    "disableSessionTags": "$disableSessionTags",
                    "targetRoleArn": "$targetRoleArn",
                },
            ),
        ),
    ),
    forces=("clusterName", "namespace", "serviceAccount"),
    defaults={"disableSessionTags": False},
    required=("clusterName", "namespace", "roleArn", "serviceAccount"),
    outputs=("associationArn", "associationId", "externalId"),
    tags=eks_tags("associationArn"),
    imported=_imported_identity,
    listing=Call(
        "list_pod_identity_associations",
        {"clusterName": "$clusterName"},
        "associations[].associationId",
    ),
)

ROWS: Final[dict[str, Row]] = {
    "aws:eks/accessEntry:AccessEntry": ACCESS_ENTRY,
    "aws:eks/accessPolicyAssociation:AccessPolicyAssociation": ACCESS_POLICY_ASSOCIATION,
    "aws:eks/podIdentityAssociation:PodIdentityAssociation": POD_IDENTITY_ASSOCIATION,
}
