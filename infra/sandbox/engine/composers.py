"""Remote components that the sandbox's engine makes itself, as their plugins would.

Only `pulumi_eks.Cluster`, and of it the control plane: what it registers with the options that an
environment uses. An option that would make more than that is refused before anything is made.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from infra.sandbox.engine.provider import (
    Composer,
    ConstructRequest,
    ConstructResult,
    ProviderError,
    RegisterChild,
    Registered,
)
from infra.sandbox.engine.wire import (
    UNKNOWN,
    PropertyMap,
    PropertyValue,
    ResourceReference,
    Secret,
    contains_secret,
    contains_unknown,
    reveal,
)

CLUSTER_TYPE: Final = "eks:index:Cluster"
CLUSTER_POLICY: Final = "arn:aws:iam::aws:policy/AmazonEKSClusterPolicy"
KUBERNETES_VERSION: Final = "4.19.0"
"""The version of the kubernetes provider that pulumi-eks 4 brings."""

SUPPORTED: Final = frozenset(
    {
        "authenticationMode",
        "bootstrapSelfManagedAddons",
        "clusterSecurityGroupTags",
        "clusterTags",
        "corednsAddonOptions",
        "createInstanceRole",
        "createOidcProvider",
        "deletionProtection",
        "enabledClusterLogTypes",
        "encryptionConfigKeyArn",
        "endpointPrivateAccess",
        "endpointPublicAccess",
        "ipFamily",
        "kubeProxyAddonOptions",
        "kubernetesServiceIpAddressRange",
        "name",
        "nodeSecurityGroupTags",
        "privateSubnetIds",
        "providerCredentialOpts",
        "publicAccessCidrs",
        "publicSubnetIds",
        "serviceRole",
        "skipDefaultNodeGroup",
        "skipDefaultSecurityGroups",
        "subnetIds",
        "tags",
        "upgradePolicy",
        "useDefaultVpcCni",
        "version",
        "vpcId",
    }
)
# Values without which the component would make more than a control plane.
REQUIRED: Final[Mapping[str, Any]] = {
    "authenticationMode": "API",
    "skipDefaultNodeGroup": True,
    "useDefaultVpcCni": True,
}
FORBIDDEN: Final = ("createOidcProvider", "createInstanceRole")
ADDONS_OFF: Final = ("corednsAddonOptions", "kubeProxyAddonOptions")


@dataclass
class _Component:
    """A remote component being made: its request, and how it registers children."""

    request: ConstructRequest
    register: RegisterChild

    def given(self, name: str) -> PropertyValue:
        """Give an argument, its secrecy kept; None where the program does not give it."""
        return self.request.inputs.get(name)

    def urns(self, *names: str) -> tuple[str, ...]:
        """Name what some of the component's arguments depend on."""
        found = {urn for name in names for urn in self.request.input_dependencies.get(name, ())}
        return tuple(sorted(found))

    def make(
        self,
        type_: str,
        suffix: str,
        inputs: Mapping[str, PropertyValue],
        dependencies: Mapping[str, Sequence[str]] | None = None,
        *,
        parent: str = "",
        options: Mapping[str, object] | None = None,
    ) -> Registered:
        """Register an aws child named after the component."""
        known = {key: value for key, value in inputs.items() if value is not None}
        urns = {key: tuple((dependencies or {}).get(key, ())) for key in known}
        return self.register(
            type_,
            f"{self.request.name}-{suffix}",
            known,
            parent=parent,
            provider=self.request.providers.get("aws", ""),
            property_dependencies=urns,
            options=options,
        )


def eks_cluster(request: ConstructRequest, register: RegisterChild) -> ConstructResult:
    """Make an EKS control plane: role, security groups with rules, cluster, kubernetes provider.

    Raises `ProviderError` for options that would make node groups, add-ons or an OIDC provider.
    """
    _refuse_more_than_a_control_plane(request)
    component = _Component(request, register)
    role = _given_role(component) or _service_role(component)
    own_groups = not reveal(component.given("skipDefaultSecurityGroups"))
    group = _cluster_group(component) if own_groups else None
    cluster = _control_plane(component, role, group)
    config = _whole(_kubeconfig(component, cluster))
    provider = register(
        "pulumi:providers:kubernetes",
        f"{request.name}-eks-k8s",
        {"kubeconfig": _json(config)},
        property_dependencies={
            "kubeconfig": (cluster.urn, *component.urns("providerCredentialOpts"))
        },
        options={"version": KUBERNETES_VERSION},
    )
    groups = _Groups(group, *_node_group(component, group, cluster)) if group else None
    outputs = _outputs(component, role, cluster, config, provider, groups)
    children = _output_dependencies(role, cluster, provider, groups)
    dependencies = {key: children.get(key, (cluster.urn,)) for key in outputs}
    inner: dict[str, PropertyMap] = {}
    if role.holder:
        inner[role.holder] = dict.fromkeys(("directRole", "resolvedRole"), role.reference)
    return ConstructResult(outputs, dependencies, inner)


@dataclass(frozen=True)
class _Role:
    """The role that EKS acts with: the program's, or the component's own."""

    arn: PropertyValue
    reference: ResourceReference
    arn_urns: tuple[str, ...]
    """What the ARN depends on."""
    holder: str = ""
    """URN of the component that holds the component's own role."""
    first: tuple[str, ...] = ()
    """URNs of what has to be there before the cluster."""


@dataclass(frozen=True)
class _Groups:
    """The component's own security groups, and the rule that lets nodes in."""

    cluster: Registered
    nodes: Registered
    ingress: Registered


def _output_dependencies(
    role: _Role, cluster: Registered, provider: Registered, groups: _Groups | None
) -> dict[str, tuple[str, ...]]:
    """Name what each output depends on; what is not named depends on the cluster."""
    own = (cluster.urn, provider.urn, role.reference.urn)
    if groups is None:
        return {"core": own}
    return {
        "clusterSecurityGroup": (groups.cluster.urn,),
        "clusterSecurityGroupId": (groups.cluster.urn,),
        "nodeSecurityGroup": (groups.nodes.urn,),
        "nodeSecurityGroupId": (groups.nodes.urn,),
        "eksClusterIngressRule": (groups.ingress.urn,),
        "clusterIngressRuleId": (groups.ingress.urn,),
        "core": (*own, groups.cluster.urn, groups.nodes.urn),
    }


def _refuse_more_than_a_control_plane(request: ConstructRequest) -> None:
    inputs = request.inputs
    wrong = [name for name in sorted(inputs.keys() - SUPPORTED) if inputs[name]]
    wrong += [name for name, value in REQUIRED.items() if reveal(inputs.get(name)) != value]
    wrong += [name for name in FORBIDDEN if reveal(inputs.get(name))]
    wrong += [name for name in ADDONS_OFF if (reveal(inputs.get(name)) or {}).get("enabled", True)]
    if wrong:
        raise ProviderError(
            f"The sandbox makes the control plane of {CLUSTER_TYPE} only, and {request.name} asks"
            f" for more: {', '.join(wrong)}. Nothing of it was made. It takes authenticationMode"
            " API, skipDefaultNodeGroup and useDefaultVpcCni true, coredns and kube-proxy off, and"
            " neither an OIDC provider nor an instance role."
        )
    if request.inputs.get("providerCredentialOpts") is None and "aws" in request.providers:
        raise ProviderError(
            "It looks like you're using an explicit AWS provider. Please specify this provider in"
            " providerCredentialOpts."
        )


def _given_role(component: _Component) -> _Role | None:
    """Give the role that the program made for EKS."""
    given = reveal(component.given("serviceRole"))
    if given is None:
        return None
    urns = component.urns("serviceRole")
    if not isinstance(given, ResourceReference):
        # Not even known yet which one it is.
        return _Role(UNKNOWN, ResourceReference(urns[0] if urns else "", UNKNOWN), urns)
    outputs = component.request.outputs_of(given.urn)
    return _Role(reveal(outputs.get("arn", UNKNOWN)), given, tuple(sorted({given.urn, *urns})))


def _service_role(component: _Component) -> _Role:
    """Make the role that EKS acts with."""
    name = f"{component.request.name}-eksRole"
    actions = ["sts:AssumeRole", "sts:TagSession"]
    description = "Allows EKS to manage clusters on your behalf."
    policies = [{"id": CLUSTER_POLICY, "arn": CLUSTER_POLICY}]
    tags = component.given("tags")
    inputs = {
        "service": "eks.amazonaws.com",
        "description": description,
        "managedPolicyArns": policies,
        "tags": tags,
        "assumeRoleActions": actions,
    }
    holder = component.register(
        "eks:index:ServiceRole",
        name,
        {key: value for key, value in inputs.items() if value is not None},
        custom=False,
    )
    statement = {
        "Action": actions,
        "Effect": "Allow",
        "Principal": {"Service": ["eks.amazonaws.com"]},
    }
    trust = {"Version": "2012-10-17", "Statement": [statement]}
    role = component.make(
        "aws:iam/role:Role",
        "eksRole-role",
        {
            "description": description,
            "assumeRolePolicy": json.dumps(trust, separators=(",", ":")),
            "tags": tags,
        },
        {"tags": component.urns("tags")},
        parent=holder.urn,
    )
    digest = hashlib.sha1(CLUSTER_POLICY.encode(), usedforsecurity=False).hexdigest()[:8]
    attachment = component.make(
        "aws:iam/rolePolicyAttachment:RolePolicyAttachment",
        f"eksRole-{digest}",
        {"policyArn": CLUSTER_POLICY, "role": role.id},
        {"role": (role.urn,)},
        parent=holder.urn,
    )
    return _Role(
        arn=role.outputs.get("arn", UNKNOWN),
        reference=_reference(role),
        arn_urns=(role.urn,),
        holder=holder.urn,
        first=(role.urn, attachment.urn),
    )


def _tags(component: _Component, own: Mapping[str, PropertyValue], *more: str) -> PropertyValue:
    """Put the component's own tags under those of the program."""
    given = [component.given(name) for name in (*more, "tags")]
    if any(tags is UNKNOWN for tags in map(reveal, given)):
        return UNKNOWN
    merged = dict(own)
    for tags in given:
        merged.update(reveal(tags) or {})
    return Secret(merged) if any(contains_secret(tags) for tags in given) else merged


def _group(
    component: _Component,
    suffix: str,
    tags: PropertyValue,
    tag_urns: Sequence[str],
) -> Registered:
    return component.make(
        "aws:ec2/securityGroup:SecurityGroup",
        suffix,
        {"vpcId": component.given("vpcId"), "revokeRulesOnDelete": True, "tags": tags},
        {"vpcId": component.urns("vpcId"), "tags": tag_urns},
    )


def _rule(
    component: _Component,
    suffix: str,
    inputs: Mapping[str, PropertyValue],
    groups: Mapping[str, Registered],
) -> Registered:
    """Make a security group rule; `groups` are the inputs that are groups' ids."""
    ids = {key: group.id for key, group in groups.items()}
    urns = {key: (group.urn,) for key, group in groups.items()}
    type_ = "aws:ec2/securityGroupRule:SecurityGroupRule"
    return component.make(type_, suffix, {**inputs, **ids}, urns)


def _all_out() -> PropertyMap:
    return {
        "description": "Allow internet access.",
        "type": "egress",
        "fromPort": 0,
        "toPort": 0,
        "protocol": "-1",
        "cidrBlocks": ["0.0.0.0/0"],
    }


def _tcp_in(description: str, first: int, last: int) -> PropertyMap:
    return {
        "description": description,
        "type": "ingress",
        "fromPort": first,
        "toPort": last,
        "protocol": "tcp",
    }


def _cluster_group(component: _Component) -> Registered:
    suffix = "eksClusterSecurityGroup"
    own = {"Name": f"{component.request.name}-{suffix}"}
    tags = _tags(component, own, "clusterSecurityGroupTags")
    group = _group(component, suffix, tags, component.urns("clusterSecurityGroupTags", "tags"))
    _rule(component, "eksClusterInternetEgressRule", _all_out(), {"securityGroupId": group})
    return group


def _subnets(component: _Component) -> PropertyValue:
    if component.given("subnetIds") is not None:
        return component.given("subnetIds")
    parts = [component.given(name) or [] for name in ("publicSubnetIds", "privateSubnetIds")]
    if any(part is UNKNOWN for part in parts):
        return UNKNOWN
    return [subnet for part in parts for subnet in reveal(part)]


def _control_plane(component: _Component, role: _Role, group: Registered | None) -> Registered:
    given = component.given
    vpc = {
        "securityGroupIds": [group.id] if group else None,
        "subnetIds": _subnets(component),
        "endpointPrivateAccess": given("endpointPrivateAccess"),
        "endpointPublicAccess": given("endpointPublicAccess"),
        "publicAccessCidrs": given("publicAccessCidrs"),
    }
    key = given("encryptionConfigKeyArn")
    encryption = {"provider": {"keyArn": key}, "resources": ["secrets"]} if key else None
    own = {"Name": f"{component.request.name}-eksCluster"}
    addons = given("bootstrapSelfManagedAddons")
    inputs = {
        "name": given("name"),
        "roleArn": role.arn,
        "kubernetesNetworkConfig": _network(component),
        "bootstrapSelfManagedAddons": True if addons is None else addons,
        "vpcConfig": {name: value for name, value in vpc.items() if value is not None},
        "version": given("version"),
        "enabledClusterLogTypes": given("enabledClusterLogTypes"),
        "tags": _tags(component, own, "clusterTags"),
        "encryptionConfig": encryption,
        "accessConfig": {
            "authenticationMode": given("authenticationMode"),
            # Who makes the cluster administers it: the component needs that.
            "bootstrapClusterCreatorAdminPermissions": True,
        },
        "upgradePolicy": given("upgradePolicy"),
        "deletionProtection": given("deletionProtection"),
    }
    subnets = component.urns("subnetIds", "publicSubnetIds", "privateSubnetIds")
    endpoints = component.urns("endpointPrivateAccess", "endpointPublicAccess", "publicAccessCidrs")
    dependencies = {
        "roleArn": role.arn_urns,
        "vpcConfig": (*((group.urn,) if group else ()), *subnets, *endpoints),
        "encryptionConfig": component.urns("encryptionConfigKeyArn"),
        "tags": component.urns("clusterTags", "tags"),
        "kubernetesNetworkConfig": component.urns("kubernetesServiceIpAddressRange", "ipFamily"),
    }
    for name in ("name", "version", "enabledClusterLogTypes", "upgradePolicy"):
        dependencies[name] = component.urns(name)
    return component.make(
        "aws:eks/cluster:Cluster",
        "eksCluster",
        inputs,
        dependencies,
        options={
            "ignoreChanges": [
                "accessConfig.bootstrapClusterCreatorAdminPermissions",
                "bootstrapSelfManagedAddons",
            ],
            "dependencies": list(role.first),
        },
    )


def _network(component: _Component) -> PropertyMap | None:
    cidr = component.given("kubernetesServiceIpAddressRange")
    family = component.given("ipFamily")
    if cidr is None and family is None:
        return None
    usual = {"ipFamily": "ipv4" if family is None else family}
    if cidr is not None and usual["ipFamily"] == "ipv4":
        return {**usual, "serviceIpv4Cidr": cidr}
    return usual


def _node_group(
    component: _Component, group: Registered, cluster: Registered
) -> tuple[Registered, Registered]:
    """Make the nodes' security group with its rules, and the one that lets nodes in."""
    suffix = "nodeSecurityGroup"
    name = cluster.outputs.get("name", UNKNOWN)
    own = {"Name": f"{component.request.name}-{suffix}", f"kubernetes.io/cluster/{name}": "owned"}
    known = name is not UNKNOWN
    tags = _tags(component, own, "nodeSecurityGroupTags") if known else UNKNOWN
    urns = (cluster.urn, *component.urns("nodeSecurityGroupTags", "tags"))
    nodes = _group(component, suffix, tags, urns)
    each_other: PropertyMap = {
        "description": "Allow nodes to communicate with each other",
        "type": "ingress",
        "fromPort": 0,
        "toPort": 0,
        "protocol": "-1",
        "self": True,
    }
    from_cluster = {"securityGroupId": nodes, "sourceSecurityGroupId": group}
    kubelets = (
        "Allow worker Kubelets and pods to receive communication from the cluster control plane"
    )
    extensions = (
        "Allow pods running extension API servers on port 443 to receive communication from"
        " cluster control plane"
    )
    _rule(component, "eksNodeIngressRule", each_other, {"securityGroupId": nodes})
    _rule(component, "eksNodeClusterIngressRule", _tcp_in(kubelets, 1025, 65535), from_cluster)
    _rule(
        component, "eksExtApiServerClusterIngressRule", _tcp_in(extensions, 443, 443), from_cluster
    )
    _rule(component, "eksNodeInternetEgressRule", _all_out(), {"securityGroupId": nodes})
    ingress = _rule(
        component,
        "eksClusterIngressRule",
        _tcp_in("Allow pods to communicate with the cluster API Server", 443, 443),
        {"securityGroupId": group, "sourceSecurityGroupId": nodes},
    )
    return nodes, ingress


# -- kubeconfig ---------------------------------------------------------------------------------


def _kubeconfig(component: _Component, cluster: Registered) -> PropertyMap:
    """Write the kubeconfig whose user is a token of the AWS CLI; values may be unknown."""
    options = reveal(component.given("providerCredentialOpts")) or {}
    authority = cluster.outputs.get("certificateAuthority", UNKNOWN)
    arn = cluster.outputs.get("arn", UNKNOWN)
    return kubeconfig(
        name=cluster.outputs.get("name", UNKNOWN),
        endpoint=cluster.outputs.get("endpoint", UNKNOWN),
        region=UNKNOWN if arn is UNKNOWN else str(arn).split(":")[3],
        authority=UNKNOWN if authority is UNKNOWN else authority.get("data", ""),
        options=options if isinstance(options, dict) else {"roleArn": UNKNOWN},
    )


def kubeconfig(
    *,
    name: PropertyValue,
    endpoint: PropertyValue,
    region: PropertyValue,
    authority: PropertyValue,
    options: Mapping[str, PropertyValue],
) -> PropertyMap:
    """Write a kubeconfig; `options` are ``roleArn`` and ``profileName`` to get the token with."""
    arguments = ["--region", region, "eks", "get-token", "--cluster-name", name, "--output", "json"]
    if options.get("roleArn"):
        arguments += ["--role", options["roleArn"]]
    if options.get("profileName"):
        arguments += ["--profile", options["profileName"]]
    variable = {
        "name": "KUBERNETES_EXEC_INFO",
        "value": '{"apiVersion": "client.authentication.k8s.io/v1beta1"}',
    }
    login = {
        "apiVersion": "client.authentication.k8s.io/v1beta1",
        "command": "aws",
        "args": arguments,
        "env": [variable],
    }
    where = {"server": endpoint, "certificate-authority-data": authority}
    return {
        "apiVersion": "v1",
        "clusters": [{"cluster": where, "name": "kubernetes"}],
        "contexts": [{"context": {"cluster": "kubernetes", "user": "aws"}, "name": "aws"}],
        "current-context": "aws",
        "kind": "Config",
        "users": [{"name": "aws", "user": {"exec": login}}],
    }


def _whole(value: PropertyMap) -> PropertyValue:
    """Give a value whole or not at all: with an unknown part, all of it is unknown."""
    return UNKNOWN if contains_unknown(value) else value


def _json(value: PropertyValue) -> PropertyValue:
    return UNKNOWN if value is UNKNOWN else json.dumps(value, separators=(",", ":"))


# -- outputs ------------------------------------------------------------------------------------


def _reference(resource: Registered) -> ResourceReference:
    return ResourceReference(resource.urn, UNKNOWN if resource.id in ("", UNKNOWN) else resource.id)


def _outputs(
    component: _Component,
    role: _Role,
    cluster: Registered,
    config: PropertyValue,
    provider: Registered,
    groups: _Groups | None,
) -> PropertyMap:
    issuer = _issuer(cluster)
    core = {
        "cluster": _reference(cluster),
        "clusterIamRole": role.reference,
        "encryptionConfig": cluster.outputs.get("encryptionConfig"),
        "endpoint": cluster.outputs.get("endpoint", UNKNOWN),
        "instanceRoles": [],
        "kubeconfig": Secret(config),
        "nodeGroupOptions": _node_group_options(component, groups),
        "privateSubnetIds": component.given("privateSubnetIds"),
        "provider": _reference(provider),
        "publicSubnetIds": component.given("publicSubnetIds"),
        "subnetIds": _subnets(component),
        "tags": component.given("tags"),
        "vpcId": component.given("vpcId"),
    }
    if groups is not None:
        core["clusterSecurityGroup"] = _reference(groups.cluster)
    return {
        "autoModeNodeRoleName": "",
        "core": {key: value for key, value in core.items() if value is not None},
        "defaultNodeGroupAsgName": "",
        "eksCluster": _reference(cluster),
        "fargateProfileId": "",
        "fargateProfileStatus": "",
        "instanceRoles": [],
        "kubeconfig": Secret(config),
        "kubeconfigJson": Secret(_json(config)),
        "oidcIssuer": UNKNOWN if issuer is UNKNOWN else str(issuer).removeprefix("https://"),
        "oidcProviderArn": "",
        "oidcProviderUrl": issuer,
        **_group_outputs(cluster, groups),
    }


def _node_group_options(component: _Component, groups: _Groups | None) -> PropertyMap:
    options: PropertyMap = {"version": component.given("version")}
    if groups is not None:
        options["clusterIngressRule"] = _reference(groups.ingress)
        options["nodeSecurityGroup"] = _reference(groups.nodes)
    return {key: value for key, value in options.items() if value is not None}


def _group_outputs(cluster: Registered, groups: _Groups | None) -> PropertyMap:
    """Give the component's own groups; without them, the one that EKS makes for the cluster."""
    if groups is None:
        vpc = reveal(cluster.outputs.get("vpcConfig", UNKNOWN))
        made = UNKNOWN if vpc is UNKNOWN else vpc.get("clusterSecurityGroupId", UNKNOWN)
        return {
            "clusterIngressRuleId": "",
            "clusterSecurityGroupId": made,
            "nodeSecurityGroupId": made,
        }
    return {
        "clusterIngressRuleId": groups.ingress.outputs.get(
            "securityGroupRuleId", groups.ingress.id
        ),
        "clusterSecurityGroup": _reference(groups.cluster),
        "clusterSecurityGroupId": groups.cluster.id,
        "eksClusterIngressRule": _reference(groups.ingress),
        "nodeSecurityGroup": _reference(groups.nodes),
        "nodeSecurityGroupId": groups.nodes.id,
    }


def _issuer(cluster: Registered) -> PropertyValue:
    identities = cluster.outputs.get("identities", UNKNOWN)
    if identities is UNKNOWN:
        return UNKNOWN
    for identity in identities or []:
        for provider in identity.get("oidcs") or []:
            return provider["issuer"]
    return ""


def get_kubeconfig(arguments: PropertyMap) -> PropertyMap:
    """Answer ``Cluster.get_kubeconfig``: the component's kubeconfig with other credentials.

    `arguments`: ``roleArn`` and ``profileName``; ``__self__`` has the component's outputs.
    """
    own = reveal(arguments.get("__self__") or {})
    known = own.get("kubeconfig", UNKNOWN)
    options = reveal({key: arguments.get(key) for key in ("roleArn", "profileName")})
    if contains_unknown(known) or contains_unknown(options):
        return {"result": UNKNOWN}
    where = known["clusters"][0]["cluster"]
    tokens = known["users"][0]["user"]["exec"]["args"]
    config = kubeconfig(
        name=tokens[tokens.index("--cluster-name") + 1],
        endpoint=where["server"],
        region=tokens[tokens.index("--region") + 1],
        authority=where["certificate-authority-data"],
        options=options,
    )
    return {"result": Secret(_json(config))}


COMPOSERS: Final[Mapping[str, Composer]] = {CLUSTER_TYPE: eks_cluster}
CALLS: Final[Mapping[str, Callable[[PropertyMap], PropertyMap]]] = {
    f"{CLUSTER_TYPE}/getKubeconfig": get_kubeconfig
}
