"""What the remote component `eks.Cluster` registers, against what its plugin registered."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from infra.sandbox.engine.composers import CALLS, COMPOSERS
from infra.sandbox.engine.provider import (
    ConstructRequest,
    ConstructResult,
    ProviderError,
    Registered,
)
from infra.sandbox.engine.wire import UNKNOWN, ResourceReference, Secret, reveal

RECORDED = Path(__file__).parents[2] / "conformance/cases/20-eks-cluster/expected.json"
URN = "urn:pulumi:dev::p::eks:index:Cluster::cluster"
DEPLOY_ROLE = "arn:aws:iam::123456789012:role/mono-repo-dev-deploy"
# The bridge's checks fill these in; they are not the component's.
FILLED_IN = {
    "aws:iam/role:Role": {"name"},
    "aws:ec2/securityGroup:SecurityGroup": {"name", "description"},
    "pulumi:providers:kubernetes": {"version"},
}
INPUTS: dict[str, Any] = {
    "authenticationMode": "API",
    "corednsAddonOptions": {"enabled": False},
    "createOidcProvider": False,
    "enabledClusterLogTypes": ["api", "audit"],
    "encryptionConfigKeyArn": "arn:aws:kms:us-east-1:123456789012:key/k",
    "endpointPrivateAccess": True,
    "endpointPublicAccess": False,
    "kubeProxyAddonOptions": {"enabled": False},
    "name": "mono-repo-dev",
    "privateSubnetIds": ["subnet-0", "subnet-1"],
    "providerCredentialOpts": {"roleArn": DEPLOY_ROLE},
    "skipDefaultNodeGroup": True,
    "tags": {"environment": "dev"},
    "useDefaultVpcCni": True,
    "version": "1.35",
    "vpcId": "vpc-0",
}


class Engine:
    """Stands for the engine: keeps what is registered, and makes up ids and outputs."""

    def __init__(self, *, preview: bool = False) -> None:
        self.preview = preview
        self.children: dict[tuple[str, str], dict[str, Any]] = {}

    def __call__(
        self,
        type_: str,
        name: str,
        inputs: dict[str, Any],
        *,
        custom: bool = True,
        parent: str = "",
        provider: str = "",
        property_dependencies: Mapping[str, Sequence[str]] | None = None,
        options: Mapping[str, object] | None = None,
    ) -> Registered:
        urn = f"urn:pulumi:dev::p::{type_}::{name}"
        asked: Any = (options or {}).get("dependencies", ())
        urns = {one for many in (property_dependencies or {}).values() for one in many}
        self.children[type_, name] = {
            "inputs": inputs,
            "custom": custom,
            "parent": (parent or URN).rpartition("::")[2],
            "provider": provider,
            "dependencies": sorted({u.rpartition("::")[2] for u in urns | set(asked)}),
            "options": options or {},
        }
        if self.preview:
            return Registered(urn, UNKNOWN if custom else "", dict(inputs))
        return Registered(urn, f"{name}-id" if custom else "", {**inputs, **_made_up(type_)})


def _made_up(type_: str) -> dict[str, Any]:
    if type_ == "aws:eks/cluster:Cluster":
        return {
            "arn": "arn:aws:eks:us-east-1:123456789012:cluster/mono-repo-dev",
            "endpoint": "https://one.eks",
            "certificateAuthority": {"data": "Q0E="},
            "identities": [{"oidcs": [{"issuer": "https://oidc.eks/id/1"}]}],
            "vpcConfig": {"clusterSecurityGroupId": "sg-eks"},
        }
    return {"arn": "arn:aws:iam::123456789012:role/r"} if type_ == "aws:iam/role:Role" else {}


ROLE = "urn:pulumi:dev::p::aws:iam/role:Role::own"
ATTACHMENT = "urn:pulumi:dev::p::aws:iam/rolePolicyAttachment:RolePolicyAttachment::grant"
OWN_ROLE = {"serviceRole": ResourceReference(ROLE, "own")}


def construct(
    engine: Engine, *, known: Mapping[str, dict[str, Any]] | None = None, **changes: Any
) -> ConstructResult:
    given = {key: value for key, value in {**INPUTS, **changes}.items() if value is not None}
    urn = "urn:pulumi:dev::p::t:"
    request = ConstructRequest(
        type="eks:index:Cluster",
        name="cluster",
        urn=URN,
        inputs=given,
        input_dependencies={
            "vpcId": [f"{urn}:vpc"],
            "privateSubnetIds": [f"{urn}:net0", f"{urn}:net1"],
            "encryptionConfigKeyArn": [f"{urn}:secrets"],
            "serviceRole": [ROLE, ATTACHMENT],
        },
        providers={"aws": "urn:pulumi:dev::p::pulumi:providers:aws::aws::id"},
        outputs_of=lambda urn: (known or {}).get(urn, {}),
    )
    return COMPOSERS["eks:index:Cluster"](request, engine)


def recorded_children() -> dict[tuple[str, str], dict[str, Any]]:
    resources = json.loads(RECORDED.read_text())["resources"]
    return {
        (entry["type"], entry["name"]): entry
        for entry in resources
        if entry["qualified_type"].startswith("eks:index:Cluster$")
    }


def test_the_children_are_those_that_the_plugin_registers() -> None:
    engine = Engine()
    construct(engine)
    assert engine.children.keys() == recorded_children().keys()


@pytest.mark.parametrize("key", recorded_children(), ids=lambda key: key[1])
def test_a_child_is_registered_as_the_plugin_registers_it(key: tuple[str, str]) -> None:
    engine = Engine()
    construct(engine)
    child, recorded = engine.children[key], recorded_children()[key]
    filled_in = FILLED_IN.get(key[0], set())
    assert sorted(child["inputs"]) == sorted(set(recorded["input_keys"]) - filled_in)
    assert child["custom"] is recorded["custom"]
    assert child["parent"] == recorded["parent"]
    assert child["dependencies"] == recorded["dependencies"]
    assert child["provider"] == (
        "urn:pulumi:dev::p::pulumi:providers:aws::aws::id" if recorded["provider"] else ""
    )


def test_the_outputs_are_those_that_the_plugin_gives() -> None:
    recorded = json.loads(RECORDED.read_text())["resources"]
    component = next(entry for entry in recorded if entry["type"] == "eks:index:Cluster")
    assert sorted(construct(Engine()).outputs) == component["output_keys"]


def test_the_cluster_is_a_reference_and_the_kubeconfig_a_secret() -> None:
    outputs = construct(Engine()).outputs
    assert outputs["eksCluster"] == ResourceReference(
        "urn:pulumi:dev::p::aws:eks/cluster:Cluster::cluster-eksCluster", "cluster-eksCluster-id"
    )
    assert isinstance(outputs["kubeconfig"], Secret)
    user = outputs["kubeconfig"].value["users"][0]["user"]["exec"]
    assert user["args"][-2:] == ["--role", DEPLOY_ROLE]
    assert json.loads(outputs["kubeconfigJson"].value) == outputs["kubeconfig"].value
    assert outputs["oidcIssuer"] == "oidc.eks/id/1"


def test_who_makes_the_cluster_administers_it_and_that_is_not_changed_later() -> None:
    engine = Engine()
    construct(engine)
    cluster = engine.children["aws:eks/cluster:Cluster", "cluster-eksCluster"]
    assert cluster["inputs"]["accessConfig"] == {
        "authenticationMode": "API",
        "bootstrapClusterCreatorAdminPermissions": True,
    }
    assert cluster["options"]["ignoreChanges"] == [
        "accessConfig.bootstrapClusterCreatorAdminPermissions",
        "bootstrapSelfManagedAddons",
    ]


def test_a_role_of_the_programs_is_used_and_none_made_beside_it() -> None:
    engine = Engine()
    outputs = construct(engine, known={ROLE: {"arn": "arn:own"}}, **OWN_ROLE).outputs
    assert not [key for key in engine.children if key[0].startswith(("aws:iam/", "eks:index:S"))]
    cluster = engine.children["aws:eks/cluster:Cluster", "cluster-eksCluster"]
    assert cluster["inputs"]["roleArn"] == "arn:own"
    assert outputs["core"]["clusterIamRole"] == OWN_ROLE["serviceRole"]


def test_the_cluster_waits_for_all_that_the_programs_role_waits_for() -> None:
    engine = Engine()
    construct(engine, known={ROLE: {"arn": "arn:own"}}, **OWN_ROLE)
    cluster = engine.children["aws:eks/cluster:Cluster", "cluster-eksCluster"]
    assert {"own", "grant"} <= set(cluster["dependencies"])


@pytest.mark.parametrize("role", [OWN_ROLE["serviceRole"], UNKNOWN])
def test_a_role_that_is_not_made_yet_leaves_its_arn_open(role: Any) -> None:
    engine = Engine(preview=True)
    construct(engine, serviceRole=role)
    cluster = engine.children["aws:eks/cluster:Cluster", "cluster-eksCluster"]
    assert cluster["inputs"]["roleArn"] is UNKNOWN


def test_without_groups_of_its_own_a_cluster_has_the_one_that_eks_makes() -> None:
    engine = Engine()
    outputs = construct(engine, skipDefaultSecurityGroups=True).outputs
    assert not [key for key in engine.children if key[0].startswith("aws:ec2/")]
    cluster = engine.children["aws:eks/cluster:Cluster", "cluster-eksCluster"]
    assert "securityGroupIds" not in cluster["inputs"]["vpcConfig"]
    assert outputs["nodeSecurityGroupId"] == outputs["clusterSecurityGroupId"] == "sg-eks"
    assert outputs["clusterIngressRuleId"] == ""
    assert not {"clusterSecurityGroup", "nodeSecurityGroup", "eksClusterIngressRule"} & set(outputs)


def test_the_group_that_eks_makes_is_not_known_before_the_cluster_is_there() -> None:
    engine = Engine(preview=True)
    outputs = construct(engine, skipDefaultSecurityGroups=True).outputs
    assert outputs["nodeSecurityGroupId"] is UNKNOWN


def test_a_preview_of_a_new_cluster_leaves_open_what_aws_makes_up() -> None:
    outputs = construct(Engine(preview=True)).outputs
    assert outputs["nodeSecurityGroupId"] is UNKNOWN
    assert outputs["oidcIssuer"] is UNKNOWN
    assert reveal(outputs["kubeconfig"]) is UNKNOWN
    assert outputs["eksCluster"].id is UNKNOWN


def test_tags_of_the_program_are_above_the_components() -> None:
    engine = Engine()
    construct(engine, clusterTags={"Name": "mine"})
    tags = engine.children["aws:eks/cluster:Cluster", "cluster-eksCluster"]["inputs"]["tags"]
    assert tags == {"Name": "mine", "environment": "dev"}


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"authenticationMode": "CONFIG_MAP"}, "authenticationMode"),
        ({"skipDefaultNodeGroup": None}, "skipDefaultNodeGroup"),
        ({"createOidcProvider": True}, "createOidcProvider"),
        ({"corednsAddonOptions": None}, "corednsAddonOptions"),
        ({"nodeGroupOptions": {"minSize": 1}}, "nodeGroupOptions"),
    ],
)
def test_more_than_a_control_plane_is_refused_before_anything_is_made(
    changes: dict[str, Any], named: str
) -> None:
    engine = Engine()
    with pytest.raises(ProviderError, match=rf"asks for more: {named}\. Nothing of it was made"):
        construct(engine, **changes)
    assert engine.children == {}


def test_an_explicit_provider_needs_credentials_for_the_kubeconfig() -> None:
    with pytest.raises(ProviderError, match="specify this provider in providerCredentialOpts"):
        construct(Engine(), providerCredentialOpts=None)


def test_get_kubeconfig_is_the_same_cluster_with_other_credentials() -> None:
    own = {"urn": URN, **construct(Engine()).outputs}
    answer = CALLS["eks:index:Cluster/getKubeconfig"]({"__self__": own, "profileName": "ops"})
    assert isinstance(answer["result"], Secret)
    config = json.loads(answer["result"].value)
    assert config["clusters"][0]["cluster"]["server"] == "https://one.eks"
    assert config["users"][0]["user"]["exec"]["args"][-2:] == ["--profile", "ops"]


def test_get_kubeconfig_of_a_cluster_that_is_not_there_yet_is_unknown() -> None:
    own = {"urn": URN, **construct(Engine(preview=True)).outputs}
    assert CALLS["eks:index:Cluster/getKubeconfig"]({"__self__": own}) == {"result": UNKNOWN}
