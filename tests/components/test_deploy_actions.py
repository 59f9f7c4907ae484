"""Every type of resource in an environment, and the calls by which its provider manages it.

What a call is checked against is what AWS's service authorization reference names: the resource,
and the condition keys that the request carries.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from components.deploy_policies import workload_boundary
from components.iam_policies import Statement, policy_document
from tests.components.test_deploy_policies import ACCOUNT, HERE, IAM, PREFIX, SCOPE, deploys
from tests.policy_evaluator import Request, allows

GOLDEN = Path(__file__).parents[1] / "golden"


@dataclass(frozen=True, kw_only=True)
class Calls:
    """Calls on one resource, and what AWS knows of each."""

    actions: str
    """Of one service, by spaces: `ec2: CreateVpc DeleteVpc`."""
    on: str = "*"
    context: Mapping[str, str] = field(default_factory=dict)

    def each(self) -> list[str]:
        """Return the actions in IAM's form."""
        service, _, names = self.actions.partition(":")
        return [f"{service}:{name}" for name in names.split()]


def regional(service: str, resource: str) -> str:
    return f"arn:aws:{service}:{HERE}:{resource}"


def tagged(value: str = "prod") -> dict[str, str]:
    return {"aws:ResourceTag/environment": value}


def ec2(names: str) -> Calls:
    return Calls(actions=f"ec2: {names}", context=tagged())


def passes(role: str, service: str) -> Calls:
    return Calls(
        actions="iam: PassRole",
        on=f"{IAM}:role/{PREFIX}-{role}",
        context={"iam:PassedToService": f"{service}.amazonaws.com"},
    )


def linked(service: str) -> Calls:
    return Calls(
        actions="iam: CreateServiceLinkedRole",
        on=f"{IAM}:role/aws-service-role/{service}.amazonaws.com/AWSServiceRoleForIt",
        context={"iam:AWSServiceName": f"{service}.amazonaws.com"},
    )


ROLE = f"{IAM}:role/{PREFIX}-cluster"
USER = f"{IAM}:user/mono-repo/prod/people/{PREFIX}-jane-doe"
GROUP = f"{IAM}:group/{PREFIX}-sre"
PROFILE = f"{IAM}:instance-profile/mono-repo-parameter-store-access-prod"
OIDC = f"{IAM}:oidc-provider/oidc.eks.us-east-1.amazonaws.com/id/0123"
BOUNDED = {"iam:PermissionsBoundary": f"{IAM}:policy/{PREFIX}-boundary"}
BOUNDED_USER = {"iam:PermissionsBoundary": f"{IAM}:policy/{PREFIX}-people-boundary"}
KEY = regional("kms", "key/0123")
DATABASE = regional("rds", f"db:{PREFIX}")
CLUSTER = regional("eks", f"cluster/{PREFIX}")
LOG_GROUP = regional("logs", f"log-group:/aws/eks/{PREFIX}/cluster")
RULE = regional("events", "rule/parameters-reads-0123456")
ALARM = regional("cloudwatch", f"alarm:{PREFIX}-api-service-5xx")
STATE_MACHINE = regional("states", f"stateMachine:{PREFIX}-database-restop")
TOPIC = regional("sns", f"{PREFIX}-alarms")
SECRET = regional("secretsmanager", f"secret:{PREFIX}-access-keys-jane-doe-AbCdEf")
RDS_SECRET = regional("secretsmanager", "secret:rds!db-0123-AbCdEf")
PARAMETER = regional("ssm", "parameter/prod/mono-repo/database/host")
ZONE = "arn:aws:route53:::hostedzone/Z0123"
RULES = "AuthorizeSecurityGroup{0} DescribeSecurityGroupRules ModifySecurityGroupRules "
TAGS = "CreateTags DeleteTags DescribeTags"

NEEDED: Mapping[str, Sequence[Calls]] = {
    "aws:autoscaling/attachment:Attachment": [
        Calls(
            actions="autoscaling: AttachLoadBalancerTargetGroups DescribeAutoScalingGroups "
            "DetachLoadBalancerTargetGroups"
        ),
    ],
    "aws:cloudwatch/eventRule:EventRule": [
        Calls(
            actions="events: DeleteRule DescribeRule DisableRule EnableRule ListTagsForResource "
            "PutRule TagResource UntagResource",
            on=RULE,
        ),
    ],
    "aws:cloudwatch/eventTarget:EventTarget": [
        Calls(actions="events: ListTargetsByRule PutTargets RemoveTargets", on=RULE),
        passes("database-restop-rule", "events"),
    ],
    "aws:cloudwatch/logGroup:LogGroup": [
        Calls(
            actions="logs: AssociateKmsKey CreateLogGroup DeleteLogGroup DeleteRetentionPolicy "
            "DisassociateKmsKey ListTagsForResource PutRetentionPolicy TagResource UntagResource",
            on=LOG_GROUP,
        ),
        Calls(actions="logs: DescribeLogGroups"),
    ],
    "aws:cloudwatch/logMetricFilter:LogMetricFilter": [
        Calls(actions="logs: DeleteMetricFilter DescribeMetricFilters PutMetricFilter",
              on=LOG_GROUP),
    ],
    "aws:cloudwatch/logResourcePolicy:LogResourcePolicy": [
        Calls(actions="logs: DeleteResourcePolicy DescribeResourcePolicies PutResourcePolicy"),
    ],
    "aws:cloudwatch/metricAlarm:MetricAlarm": [
        Calls(
            actions="cloudwatch: DeleteAlarms DescribeAlarms ListTagsForResource PutMetricAlarm "
            "TagResource UntagResource",
            on=ALARM,
        ),
    ],
    "aws:ec2/defaultNetworkAcl:DefaultNetworkAcl": [
        ec2("DeleteNetworkAclEntry DescribeNetworkAcls ReplaceNetworkAclAssociation"),
    ],
    "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup": [
        ec2("DescribeSecurityGroups RevokeSecurityGroupEgress RevokeSecurityGroupIngress"),
    ],
    "aws:ec2/eip:Eip": [
        ec2("AllocateAddress DescribeAddresses DescribeAddressesAttribute DisassociateAddress "
            "ReleaseAddress"),
    ],
    "aws:ec2/flowLog:FlowLog": [
        ec2("CreateFlowLogs DeleteFlowLogs DescribeFlowLogs"),
        passes("flow-logs", "vpc-flow-logs"),
        Calls(actions="logs: CreateLogDelivery DeleteLogDelivery GetLogDelivery "
                      "ListLogDeliveries UpdateLogDelivery"),
    ],
    "aws:ec2/internetGateway:InternetGateway": [
        ec2("AttachInternetGateway CreateInternetGateway DeleteInternetGateway "
            "DescribeInternetGateways DetachInternetGateway"),
    ],
    "aws:ec2/launchTemplate:LaunchTemplate": [
        ec2("CreateLaunchTemplate CreateLaunchTemplateVersion DeleteLaunchTemplate "
            "DescribeLaunchTemplateVersions DescribeLaunchTemplates ModifyLaunchTemplate"),
    ],
    "aws:ec2/natGateway:NatGateway": [
        ec2("CreateNatGateway DeleteNatGateway DescribeNatGateways"),
    ],
    "aws:ec2/networkAcl:NetworkAcl": [
        ec2("CreateNetworkAcl CreateNetworkAclEntry DeleteNetworkAcl DeleteNetworkAclEntry "
            "DescribeNetworkAcls ReplaceNetworkAclAssociation"),
    ],
    "aws:ec2/route:Route": [ec2("CreateRoute DeleteRoute DescribeRouteTables ReplaceRoute")],
    "aws:ec2/routeTable:RouteTable": [
        ec2("CreateRouteTable DeleteRouteTable DescribeRouteTables DisassociateRouteTable"),
    ],
    "aws:ec2/routeTableAssociation:RouteTableAssociation": [
        ec2("AssociateRouteTable DescribeRouteTables DisassociateRouteTable "
            "ReplaceRouteTableAssociation"),
    ],
    "aws:ec2/securityGroup:SecurityGroup": [
        ec2("CreateSecurityGroup DeleteSecurityGroup DescribeNetworkInterfaces "
            "DescribeSecurityGroups RevokeSecurityGroupEgress"),
    ],
    "aws:ec2/subnet:Subnet": [
        ec2("CreateSubnet DeleteSubnet DescribeNetworkInterfaces DescribeSubnets "
            "ModifySubnetAttribute"),
    ],
    "aws:ec2/vpc:Vpc": [
        ec2("CreateVpc DeleteVpc DescribeNetworkAcls DescribeRouteTables DescribeSecurityGroups "
            f"DescribeVpcAttribute DescribeVpcs ModifyVpcAttribute {TAGS}"),
    ],
    "aws:ec2/vpcEndpoint:VpcEndpoint": [
        ec2("CreateVpcEndpoint DeleteVpcEndpoints DescribePrefixLists DescribeVpcEndpoints "
            "ModifyVpcEndpoint"),
        Calls(actions="route53: AssociateVPCWithHostedZone"),
    ],
    "aws:eks/accessEntry:AccessEntry": [
        Calls(actions="eks: CreateAccessEntry", on=CLUSTER),
        Calls(
            actions="eks: DeleteAccessEntry DescribeAccessEntry TagResource UpdateAccessEntry",
            on=regional("eks", f"access-entry/{PREFIX}/role/{ACCOUNT}/{PREFIX}-kubernetes-sre/0"),
        ),
    ],
    "aws:eks/addon:Addon": [
        Calls(actions="eks: CreateAddon CreatePodIdentityAssociation DescribeUpdate", on=CLUSTER),
        Calls(
            actions="eks: DeleteAddon DescribeAddon DescribeUpdate TagResource UpdateAddon",
            on=regional("eks", f"addon/{PREFIX}/vpc-cni/0"),
        ),
        Calls(
            actions="eks: DescribePodIdentityAssociation UpdatePodIdentityAssociation",
            on=regional("eks", f"podidentityassociation/{PREFIX}/a-0"),
        ),
        Calls(actions="eks: DescribeAddonVersions"),
        Calls(actions="iam: GetRole", on=ROLE),
        passes("vpc-cni", "pods.eks"),
    ],
    "aws:eks/cluster:Cluster": [
        Calls(
            actions="eks: AssociateEncryptionConfig CreateCluster DeleteCluster DescribeCluster "
            "DescribeUpdate ListTagsForResource TagResource UntagResource UpdateClusterConfig "
            "UpdateClusterVersion",
            on=CLUSTER,
        ),
        passes("cluster", "eks"),
        Calls(actions="kms: CreateGrant DescribeKey", on=KEY, context=tagged()),
        linked("eks"),
    ],
    "aws:eks/nodeGroup:NodeGroup": [
        Calls(actions="eks: CreateNodegroup", on=CLUSTER),
        Calls(
            actions="eks: DeleteNodegroup DescribeNodegroup DescribeUpdate TagResource "
            "UpdateNodegroupConfig UpdateNodegroupVersion",
            on=regional("eks", f"nodegroup/{PREFIX}/general-0123/0"),
        ),
        # EKS tries the launch template as whoever asks for the group.
        ec2("CreateTags DescribeLaunchTemplateVersions DescribeSubnets RunInstances"),
        passes("nodes", "ec2"),
        passes("nodes", "eks"),
        linked("eks-nodegroup"),
        linked("autoscaling"),
        linked("spot"),
    ],
    "aws:eks/podIdentityAssociation:PodIdentityAssociation": [
        Calls(actions="eks: CreatePodIdentityAssociation", on=CLUSTER),
        Calls(
            actions="eks: DeletePodIdentityAssociation DescribePodIdentityAssociation TagResource "
            "UpdatePodIdentityAssociation",
            on=regional("eks", f"podidentityassociation/{PREFIX}/a-0"),
        ),
        passes("autoscaler", "pods.eks"),
    ],
    "aws:iam/group:Group": [
        Calls(actions="iam: CreateGroup DeleteGroup GetGroup", on=GROUP),
    ],
    "aws:iam/groupPolicyAttachment:GroupPolicyAttachment": [
        Calls(
            actions="iam: AttachGroupPolicy",
            on=GROUP,
            context={"iam:PolicyARN": f"{IAM}:policy/{PREFIX}-group-sre"},
        ),
        Calls(actions="iam: DetachGroupPolicy ListAttachedGroupPolicies", on=GROUP),
    ],
    "aws:iam/instanceProfile:InstanceProfile": [
        Calls(
            actions="iam: AddRoleToInstanceProfile CreateInstanceProfile DeleteInstanceProfile "
            "GetInstanceProfile RemoveRoleFromInstanceProfile TagInstanceProfile "
            "UntagInstanceProfile",
            on=PROFILE,
        ),
        passes("nodes", "ec2"),
    ],
    "aws:iam/openIdConnectProvider:OpenIdConnectProvider": [
        Calls(
            actions="iam: AddClientIDToOpenIDConnectProvider CreateOpenIDConnectProvider "
            "DeleteOpenIDConnectProvider GetOpenIDConnectProvider "
            "RemoveClientIDFromOpenIDConnectProvider TagOpenIDConnectProvider "
            "UntagOpenIDConnectProvider UpdateOpenIDConnectProviderThumbprint",
            on=OIDC,
        ),
    ],
    "aws:iam/role:Role": [
        Calls(actions="iam: CreateRole PutRolePermissionsBoundary", on=ROLE, context=BOUNDED),
        Calls(
            actions="iam: DeleteRole GetRole ListAttachedRolePolicies "
            "ListInstanceProfilesForRole ListRolePolicies TagRole UntagRole "
            "UpdateAssumeRolePolicy UpdateRole UpdateRoleDescription",
            on=ROLE,
            context=BOUNDED,
        ),
    ],
    "aws:iam/rolePolicy:RolePolicy": [
        Calls(actions="iam: DeleteRolePolicy GetRolePolicy PutRolePolicy", on=ROLE,
              context=BOUNDED),
    ],
    "aws:iam/rolePolicyAttachment:RolePolicyAttachment": [
        Calls(actions="iam: AttachRolePolicy DetachRolePolicy ListAttachedRolePolicies", on=ROLE,
              context=BOUNDED),
    ],
    "aws:iam/user:User": [
        Calls(actions="iam: CreateUser PutUserPermissionsBoundary", on=USER,
              context=BOUNDED_USER),
        Calls(
            actions="iam: DeactivateMFADevice DeleteAccessKey DeleteLoginProfile "
            "DeleteSSHPublicKey DeleteServiceSpecificCredential DeleteSigningCertificate "
            "DeleteUser DeleteUserPolicy DetachUserPolicy GetUser ListAccessKeys "
            "ListAttachedUserPolicies ListGroupsForUser ListMFADevices ListSSHPublicKeys "
            "ListServiceSpecificCredentials ListSigningCertificates ListUserPolicies TagUser "
            "UntagUser UpdateAccessKey UpdateUser",
            on=USER,
            context=BOUNDED_USER,
        ),
        Calls(actions="iam: RemoveUserFromGroup", on=GROUP),
        Calls(actions="iam: DeleteVirtualMFADevice", on=f"{IAM}:mfa/{PREFIX}-jane-doe"),
        Calls(actions="iam: ListVirtualMFADevices"),
    ],
    "aws:iam/userGroupMembership:UserGroupMembership": [
        Calls(actions="iam: AddUserToGroup RemoveUserFromGroup", on=GROUP),
        Calls(actions="iam: ListGroupsForUser", on=USER),
    ],
    "aws:kms/alias:Alias": [
        Calls(actions="kms: CreateAlias DeleteAlias UpdateAlias", on=KEY, context=tagged()),
        Calls(
            actions="kms: CreateAlias DeleteAlias UpdateAlias",
            on=regional("kms", f"alias/{PREFIX}-logs"),
        ),
        Calls(actions="kms: ListAliases"),
    ],
    "aws:kms/key:Key": [
        Calls(actions="kms: CreateKey TagResource", context={"aws:RequestTag/environment": "prod"}),
        Calls(
            actions="kms: CancelKeyDeletion DescribeKey DisableKeyRotation EnableKeyRotation "
            "GetKeyPolicy GetKeyRotationStatus ListResourceTags PutKeyPolicy ScheduleKeyDeletion "
            "TagResource UntagResource UpdateKeyDescription",
            on=KEY,
            context=tagged(),
        ),
    ],
    "aws:lb/listener:Listener": [
        Calls(
            actions="elasticloadbalancing: AddTags CreateListener DeleteListener "
            "DescribeListenerAttributes DescribeListeners DescribeTags ModifyListener RemoveTags",
            context=tagged(),
        ),
        Calls(actions="acm: DescribeCertificate"),
    ],
    "aws:lb/listenerRule:ListenerRule": [
        Calls(
            actions="elasticloadbalancing: CreateRule DeleteRule DescribeRules ModifyRule "
            "SetRulePriorities",
            context=tagged(),
        ),
    ],
    "aws:lb/loadBalancer:LoadBalancer": [
        Calls(
            actions="elasticloadbalancing: CreateLoadBalancer DeleteLoadBalancer "
            "DescribeCapacityReservation DescribeLoadBalancerAttributes DescribeLoadBalancers "
            "ModifyLoadBalancerAttributes SetIpAddressType SetSecurityGroups SetSubnets",
            context=tagged(),
        ),
        ec2("DescribeAccountAttributes DescribeInternetGateways DescribeNetworkInterfaces "
            "DescribeSecurityGroups DescribeSubnets DescribeVpcs GetSecurityGroupsForVpc"),
        linked("elasticloadbalancing"),
    ],
    "aws:lb/targetGroup:TargetGroup": [
        Calls(
            actions="elasticloadbalancing: CreateTargetGroup DeleteTargetGroup "
            "DescribeTargetGroupAttributes DescribeTargetGroups ModifyTargetGroup "
            "ModifyTargetGroupAttributes",
            context=tagged(),
        ),
    ],
    "aws:rds/instance:Instance": [
        Calls(
            actions="rds: AddTagsToResource CreateDBInstance CreateDBSnapshot DeleteDBInstance "
            "ListTagsForResource ModifyDBInstance RebootDBInstance RemoveTagsFromResource "
            "RestoreDBInstanceFromDBSnapshot StartDBInstance StopDBInstance",
            on=DATABASE,
        ),
        *(
            Calls(actions="rds: CreateDBInstance ModifyDBInstance", on=regional("rds", other))
            for other in ("og:default:postgres-17", f"pg:{PREFIX}-main-postgres17-0",
                          f"subgrp:{PREFIX}-0")
        ),
        Calls(
            actions="rds: CreateDBSnapshot RestoreDBInstanceFromDBSnapshot",
            on=regional("rds", f"snapshot:{PREFIX}-snapshot-20261231-235959"),
        ),
        Calls(actions="rds: DescribeDBInstances DescribeDBSnapshots", on=DATABASE),
        Calls(actions="kms: CreateGrant Decrypt DescribeKey GenerateDataKey", on=KEY,
              context=tagged()),
        Calls(actions="secretsmanager: CreateSecret TagResource", on=RDS_SECRET),
        Calls(
            actions="secretsmanager: DescribeSecret RotateSecret",
            on=RDS_SECRET,
            context={"aws:ResourceTag/aws:rds:primaryDBInstanceArn": DATABASE},
        ),
        passes("rds-monitoring", "monitoring.rds"),
        linked("rds"),
    ],
    "aws:rds/parameterGroup:ParameterGroup": [
        Calls(
            actions="rds: AddTagsToResource CreateDBParameterGroup DeleteDBParameterGroup "
            "DescribeDBParameterGroups DescribeDBParameters ListTagsForResource "
            "ModifyDBParameterGroup ResetDBParameterGroup",
            on=regional("rds", f"pg:{PREFIX}-main-postgres17-0"),
        ),
    ],
    "aws:rds/subnetGroup:SubnetGroup": [
        Calls(
            actions="rds: AddTagsToResource CreateDBSubnetGroup DeleteDBSubnetGroup "
            "DescribeDBSubnetGroups ListTagsForResource ModifyDBSubnetGroup",
            on=regional("rds", f"subgrp:{PREFIX}-0"),
        ),
    ],
    "aws:route53/record:Record": [
        Calls(actions="route53: ChangeResourceRecordSets GetHostedZone ListResourceRecordSets",
              on=ZONE),
        Calls(actions="route53: GetChange", on="arn:aws:route53:::change/C0123"),
    ],
    "aws:route53/zone:Zone": [
        Calls(actions="route53: CreateHostedZone"),
        Calls(
            actions="route53: AssociateVPCWithHostedZone ChangeTagsForResource DeleteHostedZone "
            "DisassociateVPCFromHostedZone GetHostedZone ListResourceRecordSets "
            "ListTagsForResource UpdateHostedZoneComment",
            on=ZONE,
        ),
        ec2("DescribeVpcs"),
    ],
    "aws:secretsmanager/secret:Secret": [
        Calls(
            actions="secretsmanager: CreateSecret DeleteResourcePolicy DeleteSecret "
            "DescribeSecret GetResourcePolicy PutResourcePolicy RestoreSecret TagResource "
            "UntagResource UpdateSecret ValidateResourcePolicy",
            on=SECRET,
        ),
    ],
    "aws:sfn/stateMachine:StateMachine": [
        Calls(
            actions="states: CreateStateMachine DeleteStateMachine DescribeStateMachine "
            "ListTagsForResource TagResource UntagResource UpdateStateMachine",
            on=STATE_MACHINE,
        ),
        Calls(actions="states: ValidateStateMachineDefinition"),
        passes("database-restop-round", "states"),
    ],
    "aws:sns/topic:Topic": [
        Calls(
            actions="sns: CreateTopic DeleteTopic GetTopicAttributes ListTagsForResource "
            "SetTopicAttributes TagResource UntagResource",
            on=TOPIC,
        ),
    ],
    "aws:sns/topicPolicy:TopicPolicy": [
        Calls(actions="sns: GetTopicAttributes SetTopicAttributes", on=TOPIC),
    ],
    "aws:sns/topicSubscription:TopicSubscription": [
        Calls(actions="sns: ListSubscriptionsByTopic Subscribe", on=TOPIC),
        Calls(actions="sns: GetSubscriptionAttributes Unsubscribe", on=f"{TOPIC}:0123"),
        Calls(actions="sns: SetSubscriptionAttributes", on=TOPIC),
    ],
    "aws:ssm/parameter:Parameter": [
        Calls(
            actions="ssm: AddTagsToResource DeleteParameter GetParameter GetParameters "
            "ListTagsForResource PutParameter RemoveTagsFromResource",
            on=PARAMETER,
        ),
        Calls(actions="ssm: DescribeParameters"),
    ],
    "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule": [
        ec2(RULES.format("Egress") + "RevokeSecurityGroupEgress"),
    ],
    "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule": [
        ec2(RULES.format("Ingress") + "RevokeSecurityGroupIngress"),
    ],
}  # fmt: skip


def test_every_type_of_an_environment_has_its_calls_here() -> None:
    used = {
        label.split("::")[0]
        for env in ("dev", "uat", "prod")
        for label in json.loads((GOLDEN / f"{env}.json").read_text())["resources"]
    }
    assert {kind for kind in used if kind.startswith("aws:")} == set(NEEDED)


@pytest.mark.parametrize("kind", NEEDED)
def test_a_deployment_may_make_change_and_delete(kind: str) -> None:
    refused = [
        f"{action} on {calls.on}"
        for calls in NEEDED[kind]
        for action in calls.each()
        if not deploys(action, calls.on, **calls.context)
    ]
    assert refused == []


def test_a_new_key_is_finished_before_aws_knows_its_tag() -> None:
    finishing = "CreateAlias DescribeKey EnableKeyRotation GetKeyPolicy ListResourceTags"
    for action in finishing.split():
        assert deploys(f"kms:{action}", KEY)
        assert not deploys(f"kms:{action}", KEY, **tagged("uat"))
    for action in ("Decrypt", "PutKeyPolicy", "ScheduleKeyDeletion"):
        assert not deploys(f"kms:{action}", KEY)


@pytest.mark.parametrize(
    "calls",
    [
        Calls(actions="ec2: AssignPrivateIpAddresses AttachNetworkInterface CreateNetworkInterface "
                      "CreateTags DescribeInstances ModifyNetworkInterfaceAttribute"),
        Calls(actions="ec2: AttachVolume CreateSnapshot CreateVolume DeleteVolume ModifyVolume",
              context=tagged()),
        Calls(actions="kms: CreateGrant Decrypt DescribeKey GenerateDataKeyWithoutPlaintext",
              on=KEY, context=tagged()),
        Calls(actions="ecr: BatchCheckLayerAvailability BatchGetImage GetAuthorizationToken "
                      "GetDownloadUrlForLayer"),
        Calls(actions="eks: DescribeCluster", on=CLUSTER),
        Calls(actions="eks-auth: AssumeRoleForPodIdentity", on=CLUSTER),
        Calls(actions="eks: DescribeNodegroup", on=regional("eks", f"nodegroup/{PREFIX}/a/0")),
        Calls(actions="autoscaling: SetDesiredCapacity TerminateInstanceInAutoScalingGroup"),
        Calls(actions="cloudwatch: PutMetricData"),
        Calls(actions="logs: CreateLogStream PutLogEvents",
              on=regional("logs", f"log-group:/aws/containerinsights/{PREFIX}/host:log-stream:x")),
        Calls(actions="logs: CreateLogStream PutLogEvents",
              on=regional("logs", f"log-group:/aws/vpc/{PREFIX}/flow-logs:log-stream:eni-0")),
        # Of RDS's enhanced monitoring: its log group has the same name in every account.
        Calls(actions="logs: CreateLogGroup PutRetentionPolicy",
              on=regional("logs", "log-group:RDSOSMetrics")),
        Calls(actions="logs: CreateLogStream DescribeLogStreams GetLogEvents PutLogEvents",
              on=regional("logs", "log-group:RDSOSMetrics:log-stream:db-0123")),
        Calls(actions="logs: DescribeLogGroups"),
        Calls(actions="ssm: GetParameter GetParameters GetParameterHistory PutParameter",
              on=PARAMETER),
        Calls(actions="ssm: GetParametersByPath", on=regional("ssm", "parameter/prod/mono-repo")),
        linked("elasticloadbalancing"),
    ],
    ids=lambda calls: f"{calls.each()[0]} {calls.on[-24:]}",
)  # fmt: skip
def test_the_boundary_lets_the_environments_roles_do_their_work(calls: Calls) -> None:
    everything = policy_document([Statement(actions=["*"], resources=["*"])])
    known = {"aws:RequestedRegion": "us-east-1", **calls.context}
    refused = [
        action
        for action in calls.each()
        if not allows(
            Request(action=action, resource=calls.on, context=known),
            [everything],
            boundary=workload_boundary(SCOPE),
        )
    ]
    assert refused == []
