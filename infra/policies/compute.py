"""Controls of the cluster and its nodes."""

from __future__ import annotations

import json
from typing import Final

from infra.policies.checks import (
    ANYWHERE,
    absent,
    either,
    equals,
    every,
    given,
    includes,
    negate,
)
from infra.policies.model import Control, Resource, Stack

CLUSTER: Final = ("eks:index:Cluster",)
ADDON: Final = ("aws:eks/addon:Addon",)
NODES: Final = ("aws:eks/nodeGroup:NodeGroup",)
TEMPLATE: Final = ("aws:ec2/launchTemplate:LaunchTemplate",)


def _known_clients(resource: Resource, _: Stack) -> bool:
    clients = resource.get("publicAccessCidrs", ())
    return bool(clients) and not set(clients) & set(ANYWHERE)


def _polices_traffic(resource: Resource, _: Stack) -> bool:
    if resource.get("addonName") != "vpc-cni":
        return True
    values = json.loads(resource.get("configurationValues", "{}"))
    return str(values.get("enableNetworkPolicy")).lower() == "true"


def _encrypts_disks(resource: Resource, _: Stack) -> bool:
    mappings = resource.get("blockDeviceMappings", ())
    return bool(mappings) and all(
        str(mapping["ebs"].get("encrypted")).lower() == "true" for mapping in mappings
    )


def _gives_no_address(resource: Resource, _: Stack) -> bool:
    return not any(
        str(item.get("associatePublicIpAddress", "false")).lower() == "true"
        for item in resource.get("networkInterfaces", ())
    )


CONTROLS: Final = (
    Control(
        ids=("CKV_AWS_38", "AWS-0041"),
        title="the API server is not open to every address",
        types=CLUSTER,
        check=either(absent("endpointPublicAccess"), _known_clients),
    ),
    Control(
        ids=("CKV_AWS_39", "AWS-0040", "EKS.1", "CIS-EKS-5.4.1", "CIS-EKS-5.4.2"),
        title="the API server is reached inside the VPC only",
        types=CLUSTER,
        check=every(equals("endpointPrivateAccess", True), absent("endpointPublicAccess")),
    ),
    Control(
        ids=("CKV_AWS_37", "AWS-0038", "EKS.8", "CIS-EKS-2.1.1"),
        title="all five logs of the control plane are kept",
        types=CLUSTER,
        check=includes(
            "enabledClusterLogTypes",
            "api", "audit", "authenticator", "controllerManager", "scheduler",
        ),
    ),
    Control(
        ids=("CKV_AWS_58", "AWS-0039", "EKS.3", "CIS-EKS-5.3.1"),
        title="Kubernetes secrets are encrypted by a key of our own",
        types=CLUSTER,
        check=given("encryptionConfigKeyArn"),
    ),
    Control(
        ids=("CIS-EKS-4.1.7", "CIS-EKS-5.5.1"),
        title="who may enter is said by access entries alone",
        types=CLUSTER,
        check=equals("authenticationMode", "API"),
    ),
    Control(
        ids=("CIS-EKS-4.3.1", "CIS-EKS-5.4.4"),
        title="the network plugin enforces network policies",
        types=ADDON,
        check=_polices_traffic,
    ),
    Control(
        ids=("CKV_AWS_100", "CIS-EKS-5.4.3"),
        title="nobody logs into a node by SSH",
        types=NODES,
        check=absent("remoteAccess"),
    ),
    Control(
        ids=("CKV_AWS_79", "AWS-0130", "CIS-6.7", "EC2.8", "AutoScaling.3"),
        title="instance metadata needs a session's token",
        types=TEMPLATE,
        check=equals("metadataOptions.httpTokens", "required"),
    ),
    Control(
        ids=("CKV_AWS_341", "AutoScaling.4"),
        title="a pod does not reach its node's credentials",
        types=TEMPLATE,
        check=equals("metadataOptions.httpPutResponseHopLimit", 1),
    ),
    Control(
        ids=("CKV_AWS_88", "EC2.25"),
        title="nodes have no public address",
        types=TEMPLATE,
        check=_gives_no_address,
    ),
    Control(
        ids=("CKV_AWS_46", "AWS-0129"),
        title="no secret is in what a node starts with",
        types=TEMPLATE,
        check=absent("userData"),
    ),
    Control(
        ids=("EC2.3",),
        title="nodes' disks are encrypted",
        types=TEMPLATE,
        check=_encrypts_disks,
    ),
    Control(
        ids=("CIS-6.1.1", "EC2.7"),
        title="disks are encrypted where nobody asks for it",
        types=("aws:ebs/encryptionByDefault:EncryptionByDefault",),
        check=negate(equals("enabled", False)),
    ),
)  # fmt: skip
