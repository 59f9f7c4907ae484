"""Sample inputs of every aws type: what is made, what is changed, and what it needs around it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

from tests.sandbox import samples_account, samples_eks, samples_iam, samples_lb, samples_rds
from tests.sandbox.sample import NEW_TAGS, REF, TAGS, TRUST, Sample

__all__ = ["NEW_TAGS", "REF", "SAMPLES", "TAGS", "TRUST", "Sample"]


def allow(action: str) -> str:
    """A policy that allows one action."""
    statement = {"Effect": "Allow", "Action": [action], "Resource": "*"}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def bucket_policy(bucket: str, sid: str) -> str:
    """A policy that denies what does not come by TLS."""
    statement = {
        "Sid": sid,
        "Effect": "Deny",
        "Principal": "*",
        "Action": ["s3:*"],
        "Resource": [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"],
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def states(type_: str) -> str:
    """A state machine of one state."""
    return json.dumps({"StartAt": "Only", "States": {"Only": {"Type": type_}}})


SAMPLES: Final[Mapping[str, Sample]] = {
    "vpc": Sample(
        "aws:ec2/vpc:Vpc",
        {"cidrBlock": "10.9.0.0/16", "enableDnsHostnames": True, "tags": TAGS},
        {"enableDnsHostnames": False, "tags": NEW_TAGS},
    ),
    "subnet": Sample(
        "aws:ec2/subnet:Subnet",
        {
            "vpcId": "ref:vpc",
            "cidrBlock": "10.9.0.0/24",
            "availabilityZone": "us-east-1a",
            "tags": TAGS,
        },
        {"mapPublicIpOnLaunch": True, "tags": NEW_TAGS},
    ),
    "subnet2": Sample(
        "aws:ec2/subnet:Subnet",
        {"vpcId": "ref:vpc", "cidrBlock": "10.9.1.0/24", "availabilityZone": "us-east-1b"},
        {"assignIpv6AddressOnCreation": True},
    ),
    "gateway": Sample(
        "aws:ec2/internetGateway:InternetGateway", {"vpcId": "ref:vpc", "tags": TAGS}, {"tags": {}}
    ),
    "eip": Sample("aws:ec2/eip:Eip", {"domain": "vpc", "tags": TAGS}, {"tags": NEW_TAGS}),
    "nat": Sample(
        "aws:ec2/natGateway:NatGateway",
        {"subnetId": "ref:subnet", "allocationId": "ref:eip", "tags": TAGS},
        {"tags": NEW_TAGS},
    ),
    "table": Sample(
        "aws:ec2/routeTable:RouteTable", {"vpcId": "ref:vpc", "tags": TAGS}, {"tags": NEW_TAGS}
    ),
    "table2": Sample("aws:ec2/routeTable:RouteTable", {"vpcId": "ref:vpc"}, {"tags": TAGS}),
    "route": Sample(
        "aws:ec2/route:Route",
        {
            "routeTableId": "ref:table",
            "destinationCidrBlock": "0.0.0.0/0",
            "gatewayId": "ref:gateway",
        },
        {"natGatewayId": "ref:nat"},
        absent=("gatewayId",),
    ),
    "table-association": Sample(
        "aws:ec2/routeTableAssociation:RouteTableAssociation",
        {"subnetId": "ref:subnet", "routeTableId": "ref:table"},
        {"routeTableId": "ref:table2"},
    ),
    "acl": Sample(
        "aws:ec2/networkAcl:NetworkAcl",
        {
            "vpcId": "ref:vpc",
            "subnetIds": ["ref:subnet2"],
            "ingress": [
                {
                    "protocol": "tcp",
                    "ruleNo": 100,
                    "action": "allow",
                    "cidrBlock": "10.0.0.0/8",
                    "fromPort": 443,
                    "toPort": 443,
                },
                {
                    "protocol": "-1",
                    "ruleNo": 200,
                    "action": "deny",
                    "cidrBlock": "0.0.0.0/0",
                    "fromPort": 0,
                    "toPort": 0,
                },
            ],
            "tags": TAGS,
        },
        {
            "ingress": [
                {
                    "protocol": "tcp",
                    "ruleNo": 100,
                    "action": "allow",
                    "cidrBlock": "10.0.0.0/8",
                    "fromPort": 80,
                    "toPort": 80,
                }
            ],
            "egress": [
                {
                    "protocol": "icmp",
                    "ruleNo": 10,
                    "action": "allow",
                    "cidrBlock": "0.0.0.0/0",
                    "fromPort": 0,
                    "toPort": 0,
                    "icmpType": 8,
                    "icmpCode": -1,
                }
            ],
            "subnetIds": [],
        },
    ),
    "bare-acl": Sample("aws:ec2/networkAcl:NetworkAcl", {"vpcId": "ref:vpc"}, {"tags": TAGS}),
    "acl-rule": Sample(
        "aws:ec2/networkAclRule:NetworkAclRule",
        {
            "networkAclId": "ref:bare-acl",
            "ruleNumber": 120,
            "egress": True,
            "protocol": "tcp",
            "ruleAction": "allow",
            "cidrBlock": "0.0.0.0/0",
            "fromPort": 1024,
            "toPort": 65535,
        },
    ),
    "acl-association": Sample(
        "aws:ec2/networkAclAssociation:NetworkAclAssociation",
        {"networkAclId": "ref:bare-acl", "subnetId": "ref:subnet"},
    ),
    "default-acl": Sample(
        "aws:ec2/defaultNetworkAcl:DefaultNetworkAcl",
        {"defaultNetworkAclId": "ref:vpc.defaultNetworkAclId", "tags": TAGS},
        {"tags": NEW_TAGS},
    ),
    "default-group": Sample(
        "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup",
        {"vpcId": "ref:vpc", "tags": TAGS},
        {
            "ingress": [
                {
                    "protocol": "tcp",
                    "fromPort": 443,
                    "toPort": 443,
                    "cidrBlocks": ["10.0.0.0/8"],
                }
            ]
        },
    ),
    "group": Sample(
        "aws:ec2/securityGroup:SecurityGroup",
        {"vpcId": "ref:vpc", "description": "nodes", "tags": TAGS},
        {"tags": NEW_TAGS},
    ),
    "inline-group": Sample(
        "aws:ec2/securityGroup:SecurityGroup",
        {
            "vpcId": "ref:vpc",
            "revokeRulesOnDelete": True,
            "ingress": [
                {"protocol": "tcp", "fromPort": 80, "toPort": 80, "cidrBlocks": ["10.0.0.0/8"]},
                {"protocol": "-1", "fromPort": 0, "toPort": 0, "self": True},
            ],
        },
        {
            "ingress": [
                {
                    "protocol": "tcp",
                    "fromPort": 80,
                    "toPort": 80,
                    "cidrBlocks": ["10.0.0.0/8", "192.168.0.0/16"],
                    "description": "clients",
                }
            ]
        },
    ),
    "ingress": Sample(
        "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule",
        {
            "securityGroupId": "ref:group",
            "ipProtocol": "tcp",
            "fromPort": 443,
            "toPort": 443,
            "cidrIpv4": "10.0.0.0/8",
            "description": "clients",
            "tags": TAGS,
        },
        {"toPort": 444, "description": "more clients"},
    ),
    "group-ingress": Sample(
        "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule",
        {
            "securityGroupId": "ref:group",
            "ipProtocol": "tcp",
            "fromPort": 30080,
            "toPort": 30080,
            "referencedSecurityGroupId": "ref:inline-group",
            "description": "load balancer",
        },
        {"description": "load balancers", "fromPort": 30079},
    ),
    "egress": Sample(
        "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule",
        {"securityGroupId": "ref:group", "ipProtocol": "-1", "cidrIpv4": "0.0.0.0/0"},
        {"tags": TAGS, "cidrIpv4": "10.0.0.0/8", "description": "inside"},
    ),
    "classic-rule": Sample(
        "aws:ec2/securityGroupRule:SecurityGroupRule",
        {
            "securityGroupId": "ref:inline-group",
            "type": "egress",
            "protocol": "tcp",
            "fromPort": 5432,
            "toPort": 5432,
            "sourceSecurityGroupId": "ref:group",
            "description": "database",
        },
        {"description": "databases"},
    ),
    "endpoint": Sample(
        "aws:ec2/vpcEndpoint:VpcEndpoint",
        {
            "vpcId": "ref:vpc",
            "serviceName": "com.amazonaws.us-east-1.s3",
            "routeTableIds": ["ref:table"],
            "tags": TAGS,
        },
        {"routeTableIds": ["ref:table2"], "policy": allow("s3:GetObject")},
    ),
    "interface-endpoint": Sample(
        "aws:ec2/vpcEndpoint:VpcEndpoint",
        {
            "vpcId": "ref:vpc",
            "serviceName": "com.amazonaws.us-east-1.ssm",
            "vpcEndpointType": "Interface",
            "subnetIds": ["ref:subnet"],
            "securityGroupIds": ["ref:group"],
            "privateDnsEnabled": True,
        },
        {"subnetIds": ["ref:subnet", "ref:subnet2"], "privateDnsEnabled": False},
    ),
    "endpoint-route": Sample(
        "aws:ec2/vpcEndpointRouteTableAssociation:VpcEndpointRouteTableAssociation",
        {"vpcEndpointId": "ref:endpoint", "routeTableId": "ref:table2"},
    ),
    "key": Sample(
        "aws:kms/key:Key",
        {
            "description": "one",
            "enableKeyRotation": True,
            "deletionWindowInDays": 7,
            "policy": json.dumps(
                {
                    "Version": "2012-10-17",
                    "Statement": [
                        {
                            "Sid": "root",
                            "Effect": "Allow",
                            "Principal": {"AWS": "arn:aws:iam::111122223333:root"},
                            "Action": "kms:*",
                            "Resource": "*",
                        }
                    ],
                }
            ),
            "tags": TAGS,
        },
        {"description": "two", "enableKeyRotation": False, "isEnabled": False, "tags": NEW_TAGS},
    ),
    "other-key": Sample("aws:kms/key:Key", {}, {"description": "other"}),
    "alias": Sample(
        "aws:kms/alias:Alias",
        {"name": "alias/sample", "targetKeyId": "ref:key"},
        {"targetKeyId": "ref:other-key.arn"},
    ),
    "log-group": Sample(
        "aws:cloudwatch/logGroup:LogGroup",
        {"name": "/aws/sample", "retentionInDays": 7, "kmsKeyId": "ref:key.arn", "tags": TAGS},
        {"retentionInDays": 30, "tags": NEW_TAGS},
        absent=("kmsKeyId",),
    ),
    "log-policy": Sample(
        "aws:cloudwatch/logResourcePolicy:LogResourcePolicy",
        {"policyName": "sample", "policyDocument": allow("logs:PutLogEvents")},
        {"policyDocument": allow("logs:CreateLogStream")},
    ),
    "metric-filter": Sample(
        "aws:cloudwatch/logMetricFilter:LogMetricFilter",
        {
            "logGroupName": "ref:log-group",
            "pattern": "ERROR",
            "metricTransformation": {
                "name": "errors",
                "namespace": "sample",
                "value": "1",
                "defaultValue": "0",
            },
        },
        {"pattern": "FATAL"},
    ),
    "topic": Sample(
        "aws:sns/topic:Topic",
        {"displayName": "one", "kmsMasterKeyId": "ref:key", "tags": TAGS},
        {"displayName": "two", "tags": NEW_TAGS},
        absent=("kmsMasterKeyId",),
    ),
    "topic-policy": Sample(
        "aws:sns/topicPolicy:TopicPolicy",
        {"arn": "ref:topic", "policy": allow("sns:Publish")},
        {"policy": allow("sns:Subscribe")},
    ),
    "subscription": Sample(
        "aws:sns/topicSubscription:TopicSubscription",
        {"topic": "ref:topic", "protocol": "email", "endpoint": "jane-doe@example.com"},
        {"filterPolicy": json.dumps({"app": ["api-service"]})},
    ),
    "alarm": Sample(
        "aws:cloudwatch/metricAlarm:MetricAlarm",
        {
            "comparisonOperator": "GreaterThanThreshold",
            "evaluationPeriods": 1,
            "metricName": "errors",
            "namespace": "sample",
            "period": 300,
            "statistic": "Sum",
            "threshold": 0,
            "treatMissingData": "notBreaching",
            "alarmActions": ["ref:topic"],
            "dimensions": {"app": "api-service"},
            "tags": TAGS,
        },
        {"threshold": 5, "alarmDescription": "denied", "tags": NEW_TAGS},
    ),
    "query-alarm": Sample(
        "aws:cloudwatch/metricAlarm:MetricAlarm",
        {
            "comparisonOperator": "GreaterThanThreshold",
            "evaluationPeriods": 2,
            "threshold": 1.5,
            "metricQueries": [
                {"id": "e1", "expression": "m1 * 2", "label": "double", "returnData": True},
                {
                    "id": "m1",
                    "metric": {
                        "metricName": "errors",
                        "namespace": "sample",
                        "period": 60,
                        "stat": "Sum",
                        "dimensions": {"app": "web-app"},
                    },
                },
            ],
        },
        {"evaluationPeriods": 3},
    ),
    "rule": Sample(
        "aws:cloudwatch/eventRule:EventRule",
        {
            "description": "one",
            "eventPattern": json.dumps({"source": ["aws.ssm"]}),
            "state": "ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS",
            "tags": TAGS,
        },
        {"description": "two", "state": "DISABLED", "tags": NEW_TAGS},
    ),
    "target": Sample(
        "aws:cloudwatch/eventTarget:EventTarget",
        {"rule": "ref:rule", "arn": "ref:topic", "inputPath": "$.detail"},
        {"inputTransformer": {"inputPaths": {"a": "$.detail"}, "inputTemplate": '"<a>"'}},
        absent=("inputPath",),
    ),
    "scheduled-rule": Sample(
        "aws:cloudwatch/eventRule:EventRule",
        {"name": "sample-schedule", "scheduleExpression": "rate(30 minutes)", "state": "DISABLED"},
        {"scheduleExpression": "rate(1 hour)", "state": "ENABLED"},
    ),
    "scheduled-target": Sample(
        "aws:cloudwatch/eventTarget:EventTarget",
        {
            "rule": "ref:scheduled-rule",
            "targetId": "round",
            "arn": "ref:state-machine",
            "roleArn": "ref:role.arn",
            "input": "{}",
            "retryPolicy": {"maximumEventAgeInSeconds": 1800, "maximumRetryAttempts": 10},
        },
        {"retryPolicy": {"maximumEventAgeInSeconds": 3600, "maximumRetryAttempts": 20}},
    ),
    "state-machine": Sample(
        "aws:sfn/stateMachine:StateMachine",
        {"definition": states("Succeed"), "roleArn": "ref:role.arn", "tags": TAGS},
        {"definition": states("Fail"), "tags": NEW_TAGS},
    ),
    "boundary": Sample(
        "aws:iam/policy:Policy",
        {"name": "boundary", "policy": allow("s3:*"), "path": "/sample/", "tags": TAGS},
        {"policy": allow("ssm:*"), "tags": NEW_TAGS},
    ),
    "role": Sample(
        "aws:iam/role:Role",
        {
            "assumeRolePolicy": TRUST,
            "description": "one",
            "permissionsBoundary": "ref:boundary",
            "tags": TAGS,
        },
        {
            "description": "two",
            "maxSessionDuration": 7200,
            "tags": NEW_TAGS,
            "assumeRolePolicy": TRUST.replace("ec2.", "eks."),
        },
        absent=("permissionsBoundary",),
    ),
    "role-policy": Sample(
        "aws:iam/rolePolicy:RolePolicy",
        {"role": "ref:role", "name": "inline", "policy": allow("s3:GetObject")},
        {"policy": allow("s3:PutObject")},
    ),
    "attachment": Sample(
        "aws:iam/rolePolicyAttachment:RolePolicyAttachment",
        {"role": "ref:role", "policyArn": "arn:aws:iam::aws:policy/AmazonEKSClusterPolicy"},
    ),
    "profile": Sample(
        "aws:iam/instanceProfile:InstanceProfile",
        {"role": "ref:role", "tags": TAGS},
        {"tags": NEW_TAGS},
        absent=("role",),
    ),
    "parameter": Sample(
        "aws:ssm/parameter:Parameter",
        {"name": "/dev/app/one", "type": "String", "value": "1", "tags": TAGS},
        {"value": "2", "description": "two", "tags": NEW_TAGS},
    ),
    "secure-parameter": Sample(
        "aws:ssm/parameter:Parameter",
        {
            "name": "/dev/app/two",
            "type": "SecureString",
            "value": "hidden",
            "keyId": "ref:other-key",
            "description": "a secret",
        },
        {"value": "hidden2"},
        absent=("description",),
    ),
    "bucket": Sample(
        "aws:s3/bucket:Bucket", {"forceDestroy": True, "tags": TAGS}, {"tags": NEW_TAGS}
    ),
    "log-bucket": Sample(
        "aws:s3/bucket:Bucket", {"bucket": "sample-logs", "forceDestroy": True}, {"tags": TAGS}
    ),
    "versioning": Sample(
        "aws:s3/bucketVersioning:BucketVersioning",
        {"bucket": "ref:bucket", "versioningConfiguration": {"status": "Enabled"}},
        {"versioningConfiguration": {"status": "Suspended"}},
    ),
    "log-versioning": Sample(
        "aws:s3/bucketVersioning:BucketVersioning",
        {"bucket": "ref:log-bucket", "versioningConfiguration": {"status": "Enabled"}},
        {"versioningConfiguration": {"status": "Suspended"}},
    ),
    "encryption": Sample(
        "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration",
        {
            "bucket": "ref:bucket",
            "rules": [
                {
                    "applyServerSideEncryptionByDefault": {
                        "sseAlgorithm": "aws:kms",
                        "kmsMasterKeyId": "ref:key.arn",
                    },
                    "bucketKeyEnabled": True,
                }
            ],
        },
        {"rules": [{"applyServerSideEncryptionByDefault": {"sseAlgorithm": "AES256"}}]},
    ),
    "access-block": Sample(
        "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock",
        {
            "bucket": "ref:bucket",
            "blockPublicAcls": True,
            "blockPublicPolicy": True,
            "ignorePublicAcls": True,
            "restrictPublicBuckets": True,
        },
        {"restrictPublicBuckets": False},
    ),
    "ownership": Sample(
        "aws:s3/bucketOwnershipControls:BucketOwnershipControls",
        {"bucket": "ref:bucket", "rule": {"objectOwnership": "BucketOwnerEnforced"}},
        {"rule": {"objectOwnership": "BucketOwnerPreferred"}},
    ),
    "bucket-policy": Sample(
        "aws:s3/bucketPolicy:BucketPolicy",
        {"bucket": "ref:bucket", "policy": bucket_policy("sample", "one")},
        {"policy": bucket_policy("sample", "two")},
    ),
    "log-delivery": Sample(
        "aws:s3/bucketPolicy:BucketPolicy",
        {
            "bucket": "ref:log-bucket",
            "policy": json.dumps(
                {
                    "Version": "2012-10-17",
                    "Statement": [
                        {
                            "Effect": "Deny",
                            "Principal": "*",
                            "Action": ["s3:*"],
                            "Resource": "arn:aws:s3:::sample-logs/*",
                            "Condition": {"Bool": {"aws:SecureTransport": "false"}},
                        },
                        {
                            "Effect": "Allow",
                            "Principal": {"Service": "logging.s3.amazonaws.com"},
                            "Action": ["s3:PutObject"],
                            "Resource": "arn:aws:s3:::sample-logs/*",
                        },
                    ],
                }
            ),
        },
        {"policy": bucket_policy("sample", "three")},
    ),
    "lifecycle": Sample(
        "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration",
        {
            "bucket": "ref:bucket",
            "rules": [
                {
                    "id": "abort",
                    "status": "Enabled",
                    "filter": {},
                    "abortIncompleteMultipartUpload": {"daysAfterInitiation": 7},
                    "noncurrentVersionExpiration": {"noncurrentDays": 90},
                }
            ],
        },
        {
            "rules": [
                {
                    "id": "archive",
                    "status": "Enabled",
                    "filter": {"prefix": "logs/"},
                    "expiration": {"days": 365},
                    "transitions": [{"days": 30, "storageClass": "STANDARD_IA"}],
                }
            ]
        },
    ),
    "logging": Sample(
        "aws:s3/bucketLogging:BucketLogging",
        {"bucket": "ref:bucket", "targetBucket": "ref:log-bucket", "targetPrefix": "one/"},
        {"targetPrefix": "two/"},
        needs=("log-delivery",),
    ),
    "notification": Sample(
        "aws:s3/bucketNotification:BucketNotification",
        {"bucket": "ref:bucket", "eventbridge": True},
        {
            "eventbridge": False,
            "topics": [
                {
                    "id": "made",
                    "topicArn": "ref:topic",
                    "events": ["s3:ObjectCreated:*"],
                    "filterPrefix": "in/",
                }
            ],
        },
    ),
    "replication": Sample(
        "aws:s3/bucketReplicationConfig:BucketReplicationConfig",
        {
            "bucket": "ref:bucket",
            "role": "ref:role.arn",
            "rules": [
                {
                    "id": "all",
                    "status": "Enabled",
                    "priority": 1,
                    "filter": {"prefix": "state/"},
                    "deleteMarkerReplication": {"status": "Enabled"},
                    "destination": {"bucket": "ref:log-bucket.arn", "storageClass": "STANDARD"},
                }
            ],
        },
        {
            "rules": [
                {
                    "id": "all",
                    "status": "Disabled",
                    "priority": 1,
                    "filter": {"prefix": "state/"},
                    "deleteMarkerReplication": {"status": "Enabled"},
                    "destination": {"bucket": "ref:log-bucket.arn", "storageClass": "STANDARD"},
                }
            ]
        },
        needs=("versioning", "log-versioning"),
    ),
    "flow-log": Sample(
        "aws:ec2/flowLog:FlowLog",
        {
            "vpcId": "ref:vpc",
            "trafficType": "ALL",
            "logDestination": "ref:log-group.arn",
            "iamRoleArn": "ref:role.arn",
            "maxAggregationInterval": 60,
            "tags": TAGS,
        },
        {"tags": NEW_TAGS},
    ),
    "lock-table": Sample(
        "aws:dynamodb/table:Table",
        {
            "name": "lock",
            "hashKey": "LockID",
            "billingMode": "PAY_PER_REQUEST",
            "attributes": [{"name": "LockID", "type": "S"}],
            "pointInTimeRecovery": {"enabled": True},
            "serverSideEncryption": {"enabled": True, "kmsKeyArn": "ref:key.arn"},
            "ttl": {"attributeName": "expires", "enabled": True},
            "tags": TAGS,
        },
        {
            "deletionProtectionEnabled": False,
            "pointInTimeRecovery": {"enabled": False},
            "tags": NEW_TAGS,
        },
        absent=("ttl",),
    ),
    "indexed-table": Sample(
        "aws:dynamodb/table:Table",
        {
            "hashKey": "a",
            "rangeKey": "b",
            "billingMode": "PROVISIONED",
            "readCapacity": 2,
            "writeCapacity": 2,
            "attributes": [
                {"name": "a", "type": "S"},
                {"name": "b", "type": "N"},
                {"name": "c", "type": "S"},
            ],
            "globalSecondaryIndexes": [
                {
                    "name": "by-c",
                    "hashKey": "c",
                    "projectionType": "ALL",
                    "readCapacity": 1,
                    "writeCapacity": 1,
                }
            ],
        },
        {"readCapacity": 3},
    ),
    "repository": Sample(
        "aws:ecr/repository:Repository",
        {
            "name": "mono-repo-dev-sample",
            "imageTagMutability": "IMMUTABLE",
            "imageScanningConfiguration": {"scanOnPush": True},
            "encryptionConfigurations": [{"encryptionType": "KMS", "kmsKey": "ref:key.arn"}],
            "tags": TAGS,
        },
        {
            "imageTagMutability": "MUTABLE",
            "imageScanningConfiguration": {"scanOnPush": False},
            "tags": NEW_TAGS,
        },
    ),
    "lifecycle-policy": Sample(
        "aws:ecr/lifecyclePolicy:LifecyclePolicy",
        {
            "repository": "ref:repository",
            "policy": json.dumps(
                {
                    "rules": [
                        {
                            "rulePriority": 1,
                            "selection": {
                                "tagStatus": "untagged",
                                "countType": "sinceImagePushed",
                                "countUnit": "days",
                                "countNumber": 14,
                            },
                            "action": {"type": "expire"},
                        }
                    ]
                }
            ),
        },
        {
            "policy": json.dumps(
                {
                    "rules": [
                        {
                            "rulePriority": 1,
                            "selection": {
                                "tagStatus": "any",
                                "countType": "imageCountMoreThan",
                                "countNumber": 30,
                            },
                            "action": {"type": "expire"},
                        }
                    ]
                }
            )
        },
    ),
    "cluster": Sample(
        "aws:eks/cluster:Cluster",
        {
            "name": "sample",
            "roleArn": "ref:role.arn",
            "version": "1.34",
            "vpcConfig": {
                "subnetIds": ["ref:subnet", "ref:subnet2"],
                "securityGroupIds": ["ref:group"],
                "endpointPrivateAccess": True,
                "endpointPublicAccess": False,
            },
            "accessConfig": {
                "authenticationMode": "API",
                "bootstrapClusterCreatorAdminPermissions": True,
            },
            "enabledClusterLogTypes": ["audit", "api"],
            "encryptionConfig": {
                "provider": {"keyArn": "ref:key.arn"},
                "resources": ["secrets"],
            },
            "bootstrapSelfManagedAddons": True,
            "tags": TAGS,
        },
        {
            "version": "1.35",
            "enabledClusterLogTypes": ["audit", "authenticator"],
            "tags": NEW_TAGS,
        },
    ),
    **samples_account.SAMPLES,
    **samples_eks.SAMPLES,
    **samples_iam.SAMPLES,
    **samples_lb.SAMPLES,
    **samples_rds.SAMPLES,
}
