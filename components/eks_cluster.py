"""EksCluster: control plane, add-ons, nodes and their scaling, and who they are in AWS.

Order is what makes it work, in both directions. Log groups come before what writes to them and go
after it, so that none comes back unencrypted. The network is configured before the first node
joins, and is there until the last has left. What needs nodes comes after them; nothing else goes
into the cluster before all of this, because the Kubernetes provider waits for it. The objects in
the cluster go with the control plane, which is not asked to delete them piece by piece; what EKS
keeps for it, such as add-ons, is deleted before it, so that a destroy which fails at the cluster
has not forgotten what is still there.

Whoever makes the cluster administers it: that is the deploy role, which every run assumes, and no
second entry is declared for it.

EKS may write a last line to the control plane's log group after the cluster is gone, which makes
the group again: a teardown looks for it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module, reload
from typing import Literal

from pulumi import ComponentResource, Input, Output, Resource, ResourceOptions
from pulumi.resource import DependencyResource
from pulumi_aws.cloudwatch.log_group import LogGroup
from pulumi_aws.eks import ClusterUpgradePolicyArgs
from pulumi_aws.eks.addon import Addon
from pulumi_aws.iam.open_id_connect_provider import OpenIdConnectProvider
from pulumi_eks import (
    AuthenticationMode,
    Cluster,
    CoreDnsAddonOptionsArgs,
    KubeconfigOptionsArgs,
    KubeProxyAddonOptionsArgs,
)
from pulumi_kubernetes.provider import Provider
from pulumi_kubernetes.storage.v1.StorageClass import StorageClass

from components.cluster_addons import (
    BEFORE_NODES,
    CONTAINER_LOG_KINDS,
    NETWORK,
    OBSERVABILITY,
    SERVICE_ACCOUNTS,
    VOLUMES,
    AddonArgs,
    container_log_group,
    install_addon,
)
from components.cluster_autoscaler import ClusterAutoscaler, ClusterAutoscalerArgs
from components.cluster_identity import (
    NETWORK_POLICIES,
    VOLUME_POLICIES,
    GrantedRole,
    RoleScope,
    cluster_role,
    granted_role,
    node_role,
    observability_policy,
    pod_identity_trust,
    volume_key_policy,
)
from components.encryption_key import EncryptionKey, EncryptionKeyArgs
from components.node_group import NodeGroup, NodeGroupArgs, NodeGroupSpec

# pulumi_eks looks up the types of its arguments as `pulumi_aws.iam.Role` and its like. The leaf
# that a program imports first from a lazy package is missing from it until the package runs again.
for _package in ("pulumi_aws.ec2", "pulumi_aws.eks", "pulumi_aws.iam"):
    reload(import_module(_package))

LOG_TYPES = ("api", "audit", "authenticator", "controllerManager", "scheduler")
STORAGE_CLASS = "gp3"


@dataclass(frozen=True, kw_only=True)
class EksClusterArgs:
    """A cluster of one environment."""

    account_id: str
    region: str
    cluster_name: str
    """Also what the names of its roles begin with."""
    version: str
    """Kubernetes minor version, as in `1.36`."""
    support_type: Literal["STANDARD", "EXTENDED"]
    """After standard support: upgraded by AWS, or paid for."""
    vpc_id: Input[str]
    subnet_ids: Sequence[Input[str]]
    """Private subnets, one a zone: control plane interfaces and nodes."""
    service_cidr: str
    public_access_cidrs: Sequence[str]
    """Who reaches the endpoint from outside the VPC; empty: nobody, it is private."""
    log_group_name: str
    """Group of the control plane's logs: `/aws/eks/NAME/cluster`, which EKS fixes."""
    log_retention_days: int
    log_key_arn: Input[str]
    secrets_key_alias: str
    """Alias of the key that Kubernetes secrets are encrypted with."""
    volumes_key_alias: str
    """Alias of the key of the volumes that pods claim."""
    key_deletion_window_days: int
    deploy_role_arn: str
    """Role of every run: it makes, and so administers, the cluster."""
    permissions_boundary_arn: Input[str] | None
    addons: Mapping[str, str]
    """Managed add-on -> pinned version."""
    node_groups: Sequence[NodeGroupSpec]
    cluster_autoscaler_version: str
    """As in `v1.36.0`; its minor is the cluster's."""
    deletion_protection: bool
    """Whether AWS refuses to delete the cluster; False only for a teardown."""
    protect: bool
    """Refuse to delete or replace the control plane and the keys; False only for a teardown."""
    labels: Mapping[str, str]
    """Of every object in the cluster."""
    tags: Mapping[str, str]


class EksCluster(ComponentResource):
    """A Kubernetes cluster whose nodes nobody reaches and whose parts are all pinned."""

    name: Output[str]
    """The cluster's name, known when it is there."""
    arn: Output[str]
    """ARN of the cluster."""
    endpoint: Output[str]
    """URL of the API server."""
    certificate_authority: Output[str]
    """The API server's certificate authority, base64."""
    oidc_provider_arn: Output[str]
    """IAM's provider of identities for service accounts."""
    oidc_issuer: Output[str]
    """Issuer of service account tokens, host and path without `https://`."""
    node_security_group_id: Output[str]
    """The group that EKS makes for the cluster, which control plane and nodes carry."""
    provider: Provider
    """Kubernetes provider: it waits until the cluster can take workloads."""
    control_plane: Resource
    """What everything inside the cluster is `deleted_with`."""
    node_groups: Mapping[str, Resource]
    """Node group -> itself, for whatever has to come and go with it."""
    autoscaling_group_names: Mapping[str, Output[str]]
    """Node group -> its Auto Scaling group."""
    log_group_name: Output[str]
    """Log group of the control plane."""
    container_log_group_names: Mapping[str, Output[str]]
    """`application`, `dataplane`, `host`, `performance` -> log group."""

    def __init__(
        self, name: str, args: EksClusterArgs, opts: ResourceOptions | None = None
    ) -> None:
        super().__init__("mono-repo:index:EksCluster", name, {}, opts)
        self._name = name
        self._args = args
        self._child = ResourceOptions(parent=self)
        self._scope = RoleScope(
            account_id=args.account_id,
            region=args.region,
            cluster_name=args.cluster_name,
            permissions_boundary_arn=args.permissions_boundary_arn,
            tags=args.tags,
        )

        groups = self._log_groups()
        self._cluster = self._make_control_plane(list(groups.values()))
        self.control_plane = _ControlPlane(self._cluster.eks_cluster.apply(lambda made: made.urn))
        self._describe()
        self._trust_service_accounts()
        self._volumes_key_arn = self._key(
            "volumes", args.volumes_key_alias, f"Volumes claimed by pods of {args.cluster_name}"
        )
        before = self._install([addon for addon in args.addons if addon in BEFORE_NODES], [])
        nodes = self._node_groups(before)
        after = self._install(
            [addon for addon in args.addons if addon not in BEFORE_NODES],
            [group.resource for group in nodes.values()],
        )
        self.provider = self._kubernetes([*before, *after])
        self._storage_class()
        ClusterAutoscaler(
            f"{name}-autoscaler",
            ClusterAutoscalerArgs(
                scope=self._scope,
                cluster_name=self.name,
                version=args.cluster_autoscaler_version,
                kubernetes=self.provider,
                control_plane=self.control_plane,
                labels=args.labels,
                tags=args.tags,
            ),
            opts=self._child,
        )

        self.node_groups = {group: made.resource for group, made in nodes.items()}
        self.autoscaling_group_names = {
            group: made.autoscaling_group_name for group, made in nodes.items()
        }
        self.log_group_name = groups["cluster"].name
        self.container_log_group_names = {kind: groups[kind].name for kind in CONTAINER_LOG_KINDS}
        self.register_outputs(
            {
                "name": self.name,
                "arn": self.arn,
                "endpoint": self.endpoint,
                "certificate_authority": self.certificate_authority,
                "oidc_provider_arn": self.oidc_provider_arn,
                "oidc_issuer": self.oidc_issuer,
                "node_security_group_id": self.node_security_group_id,
                "autoscaling_group_names": self.autoscaling_group_names,
                "log_group_name": self.log_group_name,
                "container_log_group_names": self.container_log_group_names,
            }
        )

    # Control plane

    def _log_groups(self) -> dict[str, LogGroup]:
        """Make every log group of the cluster before anything can write to it."""
        args = self._args
        names = {
            "cluster": args.log_group_name,
            **{kind: container_log_group(args.cluster_name, kind) for kind in CONTAINER_LOG_KINDS},
        }
        return {
            kind: LogGroup(
                f"{self._name}-{kind}",
                name=group,
                retention_in_days=args.log_retention_days,
                kms_key_id=args.log_key_arn,
                tags=args.tags,
                opts=self._child,
            )
            for kind, group in names.items()
        }

    def _key(self, suffix: str, alias: str, description: str) -> Output[str]:
        args = self._args
        return EncryptionKey(
            f"{self._name}-{suffix}",
            EncryptionKeyArgs(
                account_id=args.account_id,
                description=description,
                alias=alias,
                deletion_window_days=args.key_deletion_window_days,
                protect=args.protect,
                tags=args.tags,
            ),
            opts=self._child,
        ).arn

    def _make_control_plane(self, log_groups: Sequence[LogGroup]) -> Cluster:
        args = self._args
        secrets_key = self._key(
            "secrets", args.secrets_key_alias, f"Kubernetes secrets of {args.cluster_name}"
        )
        role = cluster_role(f"{self._name}-cluster", self._scope, self._child)
        return Cluster(
            self._name,
            name=args.cluster_name,
            version=args.version,
            upgrade_policy=ClusterUpgradePolicyArgs(support_type=args.support_type),
            # With its policies: without them EKS cannot make network interfaces.
            service_role=Output.all(role.role, *(grant.urn for grant in role.grants)).apply(
                lambda values: values[0]
            ),
            authentication_mode=AuthenticationMode.API,
            provider_credential_opts=KubeconfigOptionsArgs(role_arn=args.deploy_role_arn),
            vpc_id=args.vpc_id,
            private_subnet_ids=args.subnet_ids,
            kubernetes_service_ip_address_range=args.service_cidr,
            endpoint_private_access=True,
            endpoint_public_access=bool(args.public_access_cidrs),
            public_access_cidrs=list(args.public_access_cidrs) or None,
            enabled_cluster_log_types=list(LOG_TYPES),
            encryption_config_key_arn=secrets_key,
            deletion_protection=args.deletion_protection,
            # Nodes, add-ons and the identity provider are our own, pinned and bounded; the
            # security group that EKS makes itself is the only one that is used.
            skip_default_node_group=True,
            skip_default_security_groups=True,
            bootstrap_self_managed_addons=False,
            use_default_vpc_cni=True,
            coredns_addon_options=CoreDnsAddonOptionsArgs(enabled=False),
            kube_proxy_addon_options=KubeProxyAddonOptionsArgs(enabled=False),
            create_oidc_provider=False,
            tags=args.tags,
            opts=ResourceOptions(parent=self, depends_on=log_groups, protect=args.protect),
        )

    def _describe(self) -> None:
        made = self._cluster.eks_cluster
        self.name = made.apply(lambda cluster: cluster.name)
        self.arn = made.apply(lambda cluster: cluster.arn)
        self.endpoint = made.apply(lambda cluster: cluster.endpoint)
        self.certificate_authority = made.apply(
            lambda cluster: cluster.certificate_authority
        ).apply(lambda authority: authority.data)
        self.oidc_issuer = self._cluster.oidc_issuer
        self.node_security_group_id = self._cluster.node_security_group_id

    def _trust_service_accounts(self) -> None:
        """Let IAM roles trust the cluster's service accounts: what cannot use Pod Identity does.

        Without thumbprints: IAM knows the authority of EKS's issuers itself.
        """
        self.oidc_provider_arn = OpenIdConnectProvider(
            self._name,
            url=self._cluster.oidc_provider_url,
            client_id_lists=["sts.amazonaws.com"],
            tags=self._args.tags,
            opts=self._child,
        ).arn

    # Add-ons

    def _install(self, addons: Sequence[str], after: Sequence[Resource]) -> list[Addon]:
        return [
            install_addon(
                f"{self._name}-{addon}",
                AddonArgs(
                    cluster_name=self.name,
                    addon=addon,
                    version=self._args.addons[addon],
                    role_arn=self._addon_role_arn(addon),
                    tags=self._args.tags,
                ),
                ResourceOptions(parent=self, depends_on=after),
            )
            for addon in sorted(addons)
        ]

    def _addon_role_arn(self, addon: str) -> Output[str] | None:
        role = self._addon_role(addon)
        return None if role is None else role.arn

    def _addon_role(self, addon: str) -> GrantedRole | None:
        """Make the role of an add-on that calls AWS."""
        account = SERVICE_ACCOUNTS.get(addon)
        if account is None:
            return None
        log_groups = [
            container_log_group(self._args.cluster_name, kind) for kind in CONTAINER_LOG_KINDS
        ]
        managed: Mapping[str, Sequence[str]] = {NETWORK: NETWORK_POLICIES, VOLUMES: VOLUME_POLICIES}
        inline: Mapping[str, Input[str]] = {
            VOLUMES: self._volumes_key_arn.apply(volume_key_policy),
            OBSERVABILITY: observability_policy(self._scope, log_groups),
        }
        return granted_role(
            f"{self._name}-{addon}",
            self._scope,
            suffix=addon,
            description=f"Add-on {addon} of {self._args.cluster_name}",
            trust=pod_identity_trust(self._scope, account),
            managed=managed.get(addon, ()),
            policy=inline.get(addon),
            opts=self._child,
        )

    # Nodes

    def _node_groups(self, before: Sequence[Resource]) -> dict[str, NodeGroup]:
        args = self._args
        role = node_role(f"{self._name}-nodes", self._scope, self._child)
        return {
            spec.name: NodeGroup(
                f"{self._name}-{spec.name}",
                NodeGroupArgs(
                    cluster_name=self.name,
                    kubernetes_version=args.version,
                    spec=spec,
                    node_role_arn=role.arn,
                    subnet_ids=args.subnet_ids,
                    security_group_id=self.node_security_group_id,
                    after=before,
                    tags=args.tags,
                ),
                opts=self._child,
            )
            for spec in args.node_groups
        }

    # Inside the cluster

    def _kubernetes(self, ready: Sequence[Resource]) -> Provider:
        """Make the provider of everything inside the cluster.

        Its login is a short-lived token of the deploy role. A cluster that cannot be reached is
        an error: its objects are never taken to be gone, which a run outside the VPC would do.
        """
        args = self._args
        return Provider(
            f"{self._name}-kubernetes",
            kubeconfig=Output.json_dumps(
                kubeconfig(
                    cluster_name=args.cluster_name,
                    region=args.region,
                    endpoint=self.endpoint,
                    certificate_authority=self.certificate_authority,
                    role_arn=args.deploy_role_arn,
                )
            ),
            # A new certificate or endpoint is the same cluster: its objects are not replaced.
            cluster_identifier=self._scope.cluster_arn,
            enable_server_side_apply=True,
            delete_unreachable=False,
            skip_update_unreachable=False,
            opts=ResourceOptions(parent=self, depends_on=ready),
        )

    def _storage_class(self) -> None:
        StorageClass(
            f"{self._name}-{STORAGE_CLASS}",
            metadata={
                "name": STORAGE_CLASS,
                "labels": self._args.labels,
                "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
            },
            provisioner="ebs.csi.aws.com",
            parameters={
                "type": "gp3",
                "encrypted": "true",
                "kmsKeyId": self._volumes_key_arn,
            },
            # In the zone of the pod that claims it.
            volume_binding_mode="WaitForFirstConsumer",
            reclaim_policy="Delete",
            allow_volume_expansion=True,
            opts=ResourceOptions(
                parent=self, provider=self.provider, deleted_with=self.control_plane
            ),
        )


class _ControlPlane(DependencyResource):
    """The control plane as `deleted_with` takes it: a resource, not the Output of one.

    The remote component gives its cluster as an Output, because it is made elsewhere.
    """

    def __init__(self, urn: Output[str]) -> None:
        super().__init__("")
        self.__dict__["urn"] = urn


def kubeconfig(
    *,
    cluster_name: str,
    region: str,
    endpoint: Input[str],
    certificate_authority: Input[str],
    role_arn: str,
) -> dict[str, object]:
    """Return a kubeconfig whose user is a token that the AWS CLI gets as `role_arn`.

    It holds no secret. The cluster's name is given as text, so that it does not change with what
    a preview knows.
    """
    login = {
        "apiVersion": "client.authentication.k8s.io/v1beta1",
        "command": "aws",
        "args": [
            "eks",
            "get-token",
            "--cluster-name",
            cluster_name,
            "--region",
            region,
            "--role-arn",
            role_arn,
            "--output",
            "json",
        ],
        "interactiveMode": "Never",
    }
    where = {"server": endpoint, "certificate-authority-data": certificate_authority}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": cluster_name, "cluster": where}],
        "users": [{"name": "deploy", "user": {"exec": login}}],
        "contexts": [
            {"name": cluster_name, "context": {"cluster": cluster_name, "user": "deploy"}}
        ],
        "current-context": cluster_name,
    }
