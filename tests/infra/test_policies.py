"""Controls on resources made up for it: each control can fail, and what waives it."""

import datetime as dt
import json
from dataclasses import dataclass
from typing import Any

import pytest

from infra.policies import CONTROLS, Control, Resource, Stack, judge

ALL = [control for controls in CONTROLS.values() for control in controls]
ADMINISTRATOR = {"roleRef": {"name": "cluster-admin"}, "subjects": [{"name": "mono-repo:sre"}]}


def policy(**statement: Any) -> str:
    given = {"Effect": "Allow", "Action": ["s3:GetObject"], "Resource": ["*"], **statement}
    return json.dumps({"Version": "2012-10-17", "Statement": [given]}, separators=(",", ":"))


def rule(resource: str, verb: str) -> dict[str, Any]:
    return {"rules": [{"apiGroups": [""], "resources": [resource], "verbs": [verb]}]}


BREAKING: dict[str, dict[str, Any]] = {
    "AWS-0345": {"policy": policy(Action=["s3:*"])},
    "CIS-6.1.1": {"enabled": False},
    "CIS-EKS-4.1.1": ADMINISTRATOR,
    "CIS-EKS-4.1.10": rule("nodes/proxy", "get"),
    "CIS-EKS-4.1.11": rule("validatingwebhookconfigurations", "patch"),
    "CIS-EKS-4.1.12": rule("serviceaccounts/token", "create"),
    "CIS-EKS-4.1.2": rule("secrets", "list"),
    "CIS-EKS-4.1.3": rule("*", "get"),
    "CIS-EKS-4.1.4": rule("pods", "create"),
    "CIS-EKS-4.1.8": rule("clusterroles", "bind"),
    "CIS-EKS-4.1.9": rule("persistentvolumes", "create"),
    "CIS-EKS-4.3.1": {"addonName": "vpc-cni", "configurationValues": "{}"},
    "CIS-EKS-4.4.1": {
        "spec": {
            "template": {
                "spec": {"containers": [{"env": [{"valueFrom": {"secretKeyRef": {"name": "a"}}}]}]}
            }
        }
    },
    "CKV_AWS_100": {"remoteAccess": {"ec2SshKey": "key"}},
    "CKV_AWS_130": {"mapPublicIpOnLaunch": True},
    "CKV_AWS_17": {"publiclyAccessible": True},
    "CKV_AWS_227": {"isEnabled": False},
    "CKV_AWS_24": {"cidrIpv4": "0.0.0.0/0"},
    "CKV_AWS_286": {"policy": policy(Action=["iam:PassRole"])},
    "CKV_AWS_354": {"performanceInsightsEnabled": True},
    "CKV_AWS_358": {
        "assumeRolePolicy": policy(
            Principal={"Federated": ["oidc-provider/token.actions.githubusercontent.com"]}
        )
    },
    "CKV_AWS_38": {"endpointPublicAccess": True, "publicAccessCidrs": ["0.0.0.0/0"]},
    "CKV_AWS_382": {"cidrIpv4": "0.0.0.0/0", "ipProtocol": "-1"},
    "CKV_AWS_46": {"userData": "password"},
    "CKV_AWS_60": {"assumeRolePolicy": policy(Principal="*")},
    "CKV_AWS_62": {"policy": policy(Action=["*"])},
    "CKV_AWS_88": {"networkInterfaces": [{"associatePublicIpAddress": "true"}]},
    "AWS-0123": {"path": "/mono-repo/dev/people/"},
    "RDS.23": {"port": 5432},
    "RDS.25": {"username": "postgres"},
}
"""First id of a control that an empty resource meets -> inputs that do not."""
COMPANIONS = {
    "CKV_AWS_32": "aws:ecr/repositoryPolicy:RepositoryPolicy",
    "CKV_AWS_40": "aws:iam/userPolicy:UserPolicy",
}
"""First id of a control that is about what must not be there -> what that is."""


@dataclass(frozen=True)
class Accepted:
    control: str
    resource: str
    reason: str = "It is accepted for a while"
    until: dt.date = dt.date(2027, 11, 30)


def resource(type_: str, name: str = "one", *parents: Resource, **inputs: Any) -> Resource:
    return Resource(f"urn:{name}", type_, name, inputs, tuple(parent.urn for parent in parents))


@pytest.mark.parametrize("control", ALL, ids=[control.ids[0] for control in ALL])
def test_a_control_can_fail(control: Control) -> None:
    broken = resource(control.types[0], **BREAKING.get(control.ids[0], {}))
    around = [broken]
    if control.ids[0] in COMPANIONS:
        around.append(resource(COMPANIONS[control.ids[0]], "two", broken))
    findings = [f for f in judge(Stack(around), [control]) if f.resource is broken]
    assert [finding.is_open for finding in findings] == [True]


def test_what_is_made_from_a_resource_counts_for_it_and_for_no_other() -> None:
    (versions,) = [control for control in ALL if "CKV_AWS_21" in control.ids]
    first, second = (resource("aws:s3/bucket:Bucket", name) for name in ("first", "second"))
    kept = resource(
        "aws:s3/bucketVersioning:BucketVersioning",
        "versions",
        first,
        versioningConfiguration={"status": "Enabled"},
    )
    findings = judge(Stack([first, second, kept]), [versions])
    assert {f.resource.name: f.holds for f in findings} == {"first": True, "second": False}


def test_a_waiver_accepts_its_own_control_on_its_own_resources() -> None:
    (standby,) = [control for control in ALL if "CKV_AWS_157" in control.ids]
    stack = Stack([resource("aws:rds/instance:Instance", "main")])
    accepted = Accepted("RDS.5", "aws:rds/instance:Instance::m*")
    (finding,) = judge(stack, [standby], [accepted])
    assert (finding.holds, finding.waiver, finding.is_open) == (False, accepted, False)
    for other in (
        Accepted("RDS.5", "aws:rds/instance:Instance::x*"),
        Accepted("RDS.6", "aws:rds/instance:Instance::*"),
    ):
        assert [f.is_open for f in judge(stack, [standby], [other])] == [True]


def test_return_traffic_may_pass_a_network_acl_and_remote_administration_not() -> None:
    (ports,) = [control for control in ALL if "EC2.21" in control.ids]

    def holds(first: float, last: float, protocol: str = "tcp") -> bool:
        entry = {
            "action": "allow",
            "protocol": protocol,
            "cidrBlock": "0.0.0.0/0",
            "fromPort": first,
            "toPort": last,
        }
        acl = resource("aws:ec2/networkAcl:NetworkAcl", ingress=[entry])
        return judge(Stack([acl]), [ports])[0].holds

    assert holds(3390, 65535)
    assert holds(0, 0, "icmp")
    assert not holds(1024, 65535)
    assert not holds(0, 0, "-1")
