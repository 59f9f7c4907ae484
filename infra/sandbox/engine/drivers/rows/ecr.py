"""ECR repositories and their lifecycle policies."""

from __future__ import annotations

from typing import Any, Final

from infra.sandbox.engine.drivers.row import AutoName, Call, Row, Scope, Tagging, Update


def _set_mutability(scope: Scope) -> None:
    args: dict[str, Any] = {
        "repositoryName": scope.id,
        "imageTagMutability": scope.props.get("imageTagMutability") or "MUTABLE",
    }
    if scope.props.get("imageTagMutabilityExclusionFilters"):
        args["imageTagMutabilityExclusionFilters"] = _exclusions(scope)
    scope.call("put_image_tag_mutability", args)


def _exclusions(scope: Scope) -> list[dict[str, str]] | None:
    filters = scope.props.get("imageTagMutabilityExclusionFilters") or []
    return [
        {"filter": entry["filter"], "filterType": entry["filterType"]} for entry in filters
    ] or None


def _set_scanning(scope: Scope) -> None:
    given = scope.props.get("imageScanningConfiguration") or {}
    settings = {"scanOnPush": bool(given.get("scanOnPush"))}
    args = {"repositoryName": scope.id, "imageScanningConfiguration": settings}
    scope.call("put_image_scanning_configuration", args)


def _encryption(scope: Scope) -> dict[str, str] | None:
    given = (scope.props.get("encryptionConfigurations") or [{}])[0]
    names = ("encryptionType", "kmsKey")
    return {name: given[name] for name in names if given.get(name)} or None


def _arn(scope: Scope) -> str:
    return f"arn:aws:ecr:{scope.region}:{scope.account}:repository/{scope.id}"


REPOSITORY: Final = Row(
    label="ECR Repository",
    service="ecr",
    create=Call(
        "create_repository",
        {
            "repositoryName": "$name",
            "imageTagMutability": "$imageTagMutability",
            "imageTagMutabilityExclusionFilters": _exclusions,
            "imageScanningConfiguration": "$imageScanningConfiguration",
            "encryptionConfiguration": _encryption,
        },
    ),
    id="args.repositoryName",
    read=Call("describe_repositories", {"repositoryNames": ["$id"]}, "repositories[0]"),
    delete=Call("delete_repository", {"repositoryName": "$id", "force": "$forceDelete"}),
    updates=(
        Update(("imageTagMutability", "imageTagMutabilityExclusionFilters"), _set_mutability),
        Update(("imageScanningConfiguration",), _set_scanning),
    ),
    forces=("name", "encryptionConfigurations"),
    local=("forceDelete",),
    names={"name": "repositoryName", "arn": "repositoryArn", "repositoryUrl": "repositoryUri"},
    computed=("encryptionConfigurations",),
    defaults={
        "imageTagMutability": "MUTABLE",
        "imageScanningConfiguration": {"scanOnPush": False},
        "forceDelete": False,
    },
    name=AutoName("name", limit=256, lower=True),
    outputs=("arn", "registryId", "repositoryUrl"),
    reads={
        "encryptionConfigurations": "live.encryptionConfiguration"
        " && [live.encryptionConfiguration]",
    },
    tags=Tagging(
        create="tags",
        list=Call("list_tags_for_resource", {"resourceArn": "$live.repositoryArn"}, "tags"),
        add=Call("tag_resource", {"resourceArn": _arn, "tags": "$added"}),
        remove=Call("untag_resource", {"resourceArn": _arn, "tagKeys": "$removed"}),
    ),
)

PUT_LIFECYCLE: Final = Call(
    "put_lifecycle_policy", {"repositoryName": "$repository", "lifecyclePolicyText": "$policy"}
)

LIFECYCLE_POLICY: Final = Row(
    label="ECR Lifecycle Policy",
    service="ecr",
    create=PUT_LIFECYCLE,
    id="args.repositoryName",
    read=Call("get_lifecycle_policy", {"repositoryName": "$id"}),
    delete=Call("delete_lifecycle_policy", {"repositoryName": "$id"}),
    updates=(Update(("policy",), PUT_LIFECYCLE),),
    forces=("repository",),
    names={"repository": "repositoryName", "policy": "lifecyclePolicyText"},
    json=("policy",),
    required=("policy", "repository"),
    outputs=("registryId",),
)

ROWS: Final[dict[str, Row]] = {
    "aws:ecr/repository:Repository": REPOSITORY,
    "aws:ecr/lifecyclePolicy:LifecyclePolicy": LIFECYCLE_POLICY,
}
