"""What is in the sandbox's cloud, asked of every service and region: independent of any state."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from functools import cache
from typing import Any, Final

import jmespath

from infra.sandbox import servers

Found = Mapping[str, frozenset[str]]
"""Kind of thing to ids; a kind of which there is nothing is missing."""

GLOBAL_REGION: Final = "us-east-1"

# (kind, service, operation, jmespath to the ids). What is being deleted counts as gone.
_REGIONAL: Final = (
    ("vpc", "ec2", "describe_vpcs", "Vpcs[].VpcId"),
    ("subnet", "ec2", "describe_subnets", "Subnets[].SubnetId"),
    (
        "route table",
        "ec2",
        "describe_route_tables",
        "RouteTables[?!(Associations[?Main])].RouteTableId",
    ),
    (
        "main route table",
        "ec2",
        "describe_route_tables",
        "RouteTables[?Associations[?Main]].RouteTableId",
    ),
    (
        "route table association",
        "ec2",
        "describe_route_tables",
        "RouteTables[].Associations[?!Main].RouteTableAssociationId[]",
    ),
    (
        "internet gateway",
        "ec2",
        "describe_internet_gateways",
        "InternetGateways[].InternetGatewayId",
    ),
    ("address", "ec2", "describe_addresses", "Addresses[].AllocationId"),
    (
        "nat gateway",
        "ec2",
        "describe_nat_gateways",
        "NatGateways[?State!='deleted' && State!='deleting'].NatGatewayId",
    ),
    ("network acl", "ec2", "describe_network_acls", "NetworkAcls[].NetworkAclId"),
    (
        "security group",
        "ec2",
        "describe_security_groups",
        "SecurityGroups[?GroupName!='default'].GroupId",
    ),
    (
        "default security group",
        "ec2",
        "describe_security_groups",
        "SecurityGroups[?GroupName=='default'].GroupId",
    ),
    (
        "security group rule",
        "ec2",
        "describe_security_group_rules",
        "SecurityGroupRules[].SecurityGroupRuleId",
    ),
    (
        "vpc endpoint",
        "ec2",
        "describe_vpc_endpoints",
        "VpcEndpoints[?State!='deleted'].VpcEndpointId",
    ),
    ("flow log", "ec2", "describe_flow_logs", "FlowLogs[].FlowLogId"),
    (
        "network interface",
        "ec2",
        "describe_network_interfaces",
        "NetworkInterfaces[].NetworkInterfaceId",
    ),
    ("volume", "ec2", "describe_volumes", "Volumes[].VolumeId"),
    ("launch template", "ec2", "describe_launch_templates", "LaunchTemplates[].LaunchTemplateId"),
    (
        "instance",
        "ec2",
        "describe_instances",
        "Reservations[].Instances[?State.Name!='terminated'].InstanceId[]",
    ),
    ("alias", "kms", "list_aliases", "Aliases[?TargetKeyId].AliasName"),
    ("parameter", "ssm", "describe_parameters", "Parameters[].Name"),
    ("log group", "logs", "describe_log_groups", "logGroups[].logGroupName"),
    ("metric filter", "logs", "describe_metric_filters", "metricFilters[].filterName"),
    ("log policy", "logs", "describe_resource_policies", "resourcePolicies[].policyName"),
    ("event rule", "events", "list_rules", "Rules[].Name"),
    ("state machine", "stepfunctions", "list_state_machines", "stateMachines[].name"),
    ("alarm", "cloudwatch", "describe_alarms", "MetricAlarms[].AlarmName"),
    ("topic", "sns", "list_topics", "Topics[].TopicArn"),
    ("subscription", "sns", "list_subscriptions", "Subscriptions[].SubscriptionArn"),
    ("queue", "sqs", "list_queues", "QueueUrls"),
    ("table", "dynamodb", "list_tables", "TableNames"),
    ("repository", "ecr", "describe_repositories", "repositories[].repositoryName"),
    ("secret", "secretsmanager", "list_secrets", "SecretList[].Name"),
    ("database", "rds", "describe_db_instances", "DBInstances[].DBInstanceIdentifier"),
    (
        "database snapshot",
        "rds",
        "describe_db_snapshots",
        "DBSnapshots[].DBSnapshotIdentifier",
    ),
    (
        "database subnet group",
        "rds",
        "describe_db_subnet_groups",
        "DBSubnetGroups[].DBSubnetGroupName",
    ),
    (
        "database parameter group",
        "rds",
        "describe_db_parameter_groups",
        "DBParameterGroups[?!starts_with(DBParameterGroupName, 'default.')].DBParameterGroupName",
    ),
    ("cluster", "eks", "list_clusters", "clusters"),
    (
        "auto scaling group",
        "autoscaling",
        "describe_auto_scaling_groups",
        "AutoScalingGroups[].AutoScalingGroupName",
    ),
    ("trail", "cloudtrail", "describe_trails", "trailList[].TrailARN"),
    ("analyzer", "accessanalyzer", "list_analyzers", "analyzers[].name"),
    ("load balancer", "elbv2", "describe_load_balancers", "LoadBalancers[].LoadBalancerArn"),
    ("target group", "elbv2", "describe_target_groups", "TargetGroups[].TargetGroupArn"),
)
_GLOBAL: Final = (
    ("bucket", "s3", "list_buckets", "Buckets[].Name"),
    ("hosted zone", "route53", "list_hosted_zones", "HostedZones[].Id"),
    ("role", "iam", "list_roles", "Roles[].RoleName"),
    ("user", "iam", "list_users", "Users[].UserName"),
    ("group", "iam", "list_groups", "Groups[].GroupName"),
    ("instance profile", "iam", "list_instance_profiles", "InstanceProfiles[].InstanceProfileName"),
    (
        "oidc provider",
        "iam",
        "list_open_id_connect_providers",
        "OpenIDConnectProviderList[].Arn",
    ),
)


class Account:
    """One account of a sandbox cloud, as its owner sees it."""

    def __init__(
        self, cloud: servers.Cloud, account_id: str, regions: Collection[str] = (GLOBAL_REGION,)
    ) -> None:
        self._cloud = cloud
        self._credentials = servers.assume(cloud, account_id, GLOBAL_REGION)
        self.regions = tuple(regions)
        self.client = cache(self._client)

    def _client(self, service: str, region: str = GLOBAL_REGION) -> Any:
        import boto3

        return boto3.client(
            service,
            region_name=region,
            endpoint_url=self._cloud.endpoint,
            aws_access_key_id=self._credentials.access_key_id,
            aws_secret_access_key=self._credentials.secret_access_key,
            aws_session_token=self._credentials.session_token,
        )

    def listing(self) -> Found:
        """List everything; ids outside of the first region carry their region."""
        found: dict[str, set[str]] = {}
        for kind, id_ in self._everything():
            found.setdefault(kind, set()).add(id_)
        return {kind: frozenset(ids) for kind, ids in found.items()}

    def _everything(self) -> Iterator[tuple[str, str]]:
        for region in self.regions:
            prefix = "" if region == self.regions[0] else f"{region}/"
            for kind, service, operation, path in _REGIONAL:
                ids = self._ids(service, operation, path, region)
                yield from ((kind, prefix + id_) for id_ in ids)
            yield from (("key", prefix + id_) for id_ in self._live_keys(region))
        for kind, service, operation, path in _GLOBAL:
            ids = self._ids(service, operation, path, GLOBAL_REGION)
            yield from ((kind, id_) for id_ in ids)
        policies = self.client("iam").get_paginator("list_policies").paginate(Scope="Local")
        yield from (("policy", policy["Arn"]) for page in policies for policy in page["Policies"])

    def _ids(self, service: str, operation: str, path: str, region: str) -> Iterator[str]:
        client = self.client(service, region)
        if client.can_paginate(operation):
            pages = client.get_paginator(operation).paginate()
        else:
            pages = [getattr(client, operation)()]
        for page in pages:
            yield from jmespath.search(path, page) or []

    def _live_keys(self, region: str) -> Iterator[str]:
        client = self.client("kms", region)
        for id_ in self._ids("kms", "list_keys", "Keys[].KeyId", region):
            key = client.describe_key(KeyId=id_)["KeyMetadata"]
            # AWS's own keys come with the services that use them, and cannot be deleted.
            if key["KeyState"] != "PendingDeletion" and key["KeyManager"] == "CUSTOMER":
                yield id_


def difference(before: Found, after: Found) -> dict[str, list[str]]:
    """Give what is there now and was not there before."""
    new = {kind: sorted(ids - before.get(kind, frozenset())) for kind, ids in after.items()}
    return {kind: ids for kind, ids in new.items() if ids}
