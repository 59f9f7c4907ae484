"""A network and a cluster in it, as an environment has them."""

import pulumi
from pulumi_aws.provider import Provider

from components.cidr import Tier
from components.eks_cluster import EksCluster, EksClusterArgs
from components.network import Network, NetworkArgs
from components.node_group import NodeGroupSpec, Taint

config = pulumi.Config()
ACCOUNT = "111122223333"
REGION = "us-east-1"
NAME = "mono-repo-dev"
KEY = "arn:aws:kms:us-east-1:111122223333:key/logs"
BOUNDARY = "arn:aws:iam::111122223333:policy/mono-repo-dev-boundary"
TAGS = {"environment": "dev"}
VERSION = config.get("version") or "1.35"

on_aws = pulumi.ResourceOptions(
    providers=[Provider("aws", region=REGION, allowed_account_ids=[ACCOUNT])]
)
protect = config.get_bool("protect") or False
network = Network(
    "network",
    NetworkArgs(
        account_id=ACCOUNT,
        region=REGION,
        cidr="10.0.0.0/16",
        zones={"us-east-1a": 0, "us-east-1b": 1, "us-east-1c": 2},
        nat="single",
        interface_endpoints=(),
        database_ports=[5432],
        client_cidrs=[],
        cluster_name=NAME,
        flow_log_group_name=f"/aws/vpc/{NAME}/flow-logs",
        flow_log_role_name=f"{NAME}-flow-logs",
        flow_log_retention_days=7,
        flow_log_archive_arn=None,
        log_key_arn=KEY,
        permissions_boundary_arn=BOUNDARY,
        protect=False,
        tags=TAGS,
    ),
    on_aws,
)
cluster = EksCluster(
    "cluster",
    EksClusterArgs(
        account_id=ACCOUNT,
        region=REGION,
        cluster_name=NAME,
        version=VERSION,
        support_type="STANDARD",
        vpc_id=network.vpc_id,
        subnet_ids=list(network.subnet_ids[Tier.PRIVATE].values()),
        service_cidr="172.20.0.0/16",
        public_access_cidrs=config.get_object("public") or [],
        log_group_name=f"/aws/eks/{NAME}/cluster",
        log_retention_days=7,
        log_key_arn=KEY,
        secrets_key_alias=f"alias/{NAME}-cluster-secrets",
        volumes_key_alias=f"alias/{NAME}-cluster-volumes",
        key_deletion_window_days=7,
        deploy_role_arn=f"arn:aws:iam::{ACCOUNT}:role/{NAME}-deploy",
        permissions_boundary_arn=BOUNDARY,
        addons={
            "vpc-cni": "v1.22.4-eksbuild.3",
            "kube-proxy": "v1.35.0-eksbuild.2",
            "coredns": "v1.14.3-eksbuild.16",
            "eks-pod-identity-agent": "v1.3.10-eksbuild.3",
            "aws-ebs-csi-driver": "v1.63.1-eksbuild.1",
            "metrics-server": "v0.8.1-eksbuild.10",
            "amazon-cloudwatch-observability": "v6.2.0-eksbuild.1",
        },
        node_groups=[
            NodeGroupSpec(
                name="general",
                instance_types=config.get_object("instances") or ["t4g.large"],
                ami_type="AL2023_ARM_64_STANDARD",
                capacity_type="ON_DEMAND",
                min_size=config.get_int("nodes") or 1,
                desired_size=config.get_int("nodes") or 1,
                max_size=3,
                disk_gb=config.get_int("disk") or 50,
                taints=[Taint(key="dedicated", value="", effect="PREFER_NO_SCHEDULE")],
            )
        ],
        cluster_autoscaler_version=f"v{VERSION}.0",
        deletion_protection=protect,
        protect=protect,
        labels={"app.kubernetes.io/part-of": "mono-repo"},
        tags=TAGS,
    ),
    on_aws,
)
pulumi.export("name", cluster.name)
pulumi.export("endpoint", cluster.endpoint)
pulumi.export("oidc_issuer", cluster.oidc_issuer)
pulumi.export("oidc_provider_arn", cluster.oidc_provider_arn)
pulumi.export("node_security_group_id", cluster.node_security_group_id)
pulumi.export("autoscaling_group_names", cluster.autoscaling_group_names)
pulumi.export("log_group_name", cluster.log_group_name)
