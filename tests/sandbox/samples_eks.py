"""Sample inputs of what a cluster is made of: nodes, add-ons, access and identities."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

from tests.sandbox.sample import NEW_TAGS, TAGS, Sample

VIEW: Final = "arn:aws:eks::aws:cluster-access-policy/AmazonEKSViewPolicy"

SAMPLES: Final[Mapping[str, Sample]] = {
    "launch-template": Sample(
        "aws:ec2/launchTemplate:LaunchTemplate",
        {
            "description": "one",
            "updateDefaultVersion": True,
            "metadataOptions": {
                "httpEndpoint": "enabled",
                "httpTokens": "required",
                "httpPutResponseHopLimit": 1,
                "instanceMetadataTags": "disabled",
            },
            "blockDeviceMappings": [
                {
                    "deviceName": "/dev/xvda",
                    "ebs": {
                        "volumeType": "gp3",
                        "volumeSize": 50,
                        "encrypted": "true",
                        "deleteOnTermination": "true",
                    },
                }
            ],
            "networkInterfaces": [
                {
                    "deviceIndex": 0,
                    "associatePublicIpAddress": "false",
                    "deleteOnTermination": "true",
                    "securityGroups": ["ref:group"],
                }
            ],
            "tagSpecifications": [{"resourceType": "instance", "tags": TAGS}],
            "tags": TAGS,
        },
        {
            "description": "two",
            "metadataOptions": {
                "httpEndpoint": "enabled",
                "httpTokens": "required",
                "httpPutResponseHopLimit": 2,
                "instanceMetadataTags": "disabled",
            },
            "tagSpecifications": [{"resourceType": "volume", "tags": NEW_TAGS}],
            "tags": NEW_TAGS,
        },
    ),
    "node-group": Sample(
        "aws:eks/nodeGroup:NodeGroup",
        {
            "clusterName": "ref:cluster.name",
            "nodeRoleArn": "ref:role.arn",
            "subnetIds": ["ref:subnet", "ref:subnet2"],
            "version": "1.34",
            "amiType": "AL2023_ARM_64_STANDARD",
            "capacityType": "ON_DEMAND",
            "instanceTypes": ["t4g.large", "m7g.large"],
            "launchTemplate": {"id": "ref:launch-template", "version": "1"},
            "scalingConfig": {"minSize": 1, "desiredSize": 1, "maxSize": 2},
            "updateConfig": {"maxUnavailable": 1},
            "nodeRepairConfig": {"enabled": True},
            "labels": {"a": "1", "b": "1"},
            "taints": [{"key": "gone", "value": "", "effect": "NO_SCHEDULE"}],
            "tags": TAGS,
        },
        {
            "version": "1.35",
            "scalingConfig": {"minSize": 0, "desiredSize": 0, "maxSize": 3},
            "updateConfig": {"maxUnavailablePercentage": 50},
            "nodeRepairConfig": {"enabled": False},
            "labels": {"a": "2"},
            "taints": [{"key": "new", "value": "x", "effect": "NO_EXECUTE"}],
            "tags": NEW_TAGS,
        },
    ),
    "addon": Sample(
        "aws:eks/addon:Addon",
        {
            "clusterName": "ref:cluster.name",
            "addonName": "vpc-cni",
            "addonVersion": "v1.22.4-eksbuild.3",
            "configurationValues": json.dumps({"enableNetworkPolicy": "true"}),
            "podIdentityAssociations": [{"roleArn": "ref:role.arn", "serviceAccount": "aws-node"}],
            "resolveConflictsOnCreate": "OVERWRITE",
            "resolveConflictsOnUpdate": "OVERWRITE",
            "tags": TAGS,
        },
        {
            "addonVersion": "v1.22.5-eksbuild.1",
            "configurationValues": json.dumps({"enableNetworkPolicy": "false"}),
            "tags": NEW_TAGS,
        },
        absent=("podIdentityAssociations",),
    ),
    "access-entry": Sample(
        "aws:eks/accessEntry:AccessEntry",
        {
            "clusterName": "ref:cluster.name",
            "principalArn": "ref:role.arn",
            "kubernetesGroups": ["mono-repo:operations"],
            "tags": TAGS,
        },
        {"kubernetesGroups": ["mono-repo:sre"], "userName": "jane-doe", "tags": NEW_TAGS},
    ),
    "access-policy": Sample(
        "aws:eks/accessPolicyAssociation:AccessPolicyAssociation",
        {
            "clusterName": "ref:cluster.name",
            "principalArn": "ref:access-entry.principalArn",
            "policyArn": VIEW,
            "accessScope": {"type": "namespace", "namespaces": ["services", "web"]},
        },
    ),
    "pod-identity": Sample(
        "aws:eks/podIdentityAssociation:PodIdentityAssociation",
        {
            "clusterName": "ref:cluster.name",
            "namespace": "services",
            "serviceAccount": "api-service",
            "roleArn": "ref:role.arn",
            "tags": TAGS,
        },
        {"roleArn": "ref:role.arn", "disableSessionTags": True, "tags": NEW_TAGS},
    ),
    "oidc-provider": Sample(
        "aws:iam/openIdConnectProvider:OpenIdConnectProvider",
        {
            "url": "https://oidc.eks.us-east-1.amazonaws.com/id/SAMPLE",
            "clientIdLists": ["sts.amazonaws.com"],
            "tags": TAGS,
        },
        {"clientIdLists": ["sts.amazonaws.com", "other"], "tags": NEW_TAGS},
    ),
}
