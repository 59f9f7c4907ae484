"""The load balancer and the alarms, run by the engine on the sandbox's cloud."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from infra.sandbox import servers
from infra.sandbox.engine.command import EmbeddedCommand
from tests.conformance.world import Ended, World
from tests.sandbox.engine.store_fakes import make_home
from tests.sandbox.listing import Account, difference
from tests.sandbox.samples_lb import make_scaling_group

pytestmark = pytest.mark.sandbox

ACCOUNT = "111122223333"
REGION = "us-east-1"
PROGRAM = Path(__file__).with_name("balancer_program.py")


@pytest.fixture(scope="module")
def cloud_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The home of these tests' cloud, which runs."""
    home = tmp_path_factory.mktemp("balanced-cloud")
    servers.ensure_running(home, port=0)
    yield home
    servers.stop(home)


@pytest.fixture
def own_cloud(cloud_home: Path) -> servers.Cloud:
    """A cloud with nothing in it."""
    return servers.reset(cloud_home)


@pytest.fixture
def account(own_cloud: servers.Cloud) -> Account:
    return Account(own_cloud, ACCOUNT, [REGION])


@pytest.fixture
def variables(own_cloud: servers.Cloud) -> dict[str, str]:
    return servers.environment(own_cloud, REGION, servers.assume(own_cloud, ACCOUNT, REGION))


@pytest.fixture
def world(
    tmp_path: Path,
    root: Path,
    own_cloud: servers.Cloud,
    variables: dict[str, str],
    program_python: str,
) -> World:
    """The program on its stack, before nodes that were made beside it."""
    command = EmbeddedCommand(
        make_home(tmp_path),
        cloud_identity=own_cloud.identity,
        environment={**variables, "PYTHONPATH": str(root)},
        python=Path(program_python),
    )
    made = World(tmp_path / "project", "balanced", PROGRAM.read_text(), command)
    made.done("stack", "init", "dev")
    made.done("config", "set", "scaling_group", make_scaling_group(variables, "nodes-one", 2))
    made.done("config", "set", "small", "true")
    return made


def _no_change(world: World) -> None:
    refreshed = world.done("preview", "--refresh")
    assert set(refreshed.counts) <= {"same", "refresh", "read"}, refreshed.counts
    assert {op for _, op in refreshed.ops} <= {"same", "refresh", "read"}


def _begun(ended: Ended, type_: str) -> list[str]:
    return [op for resource, op in ended.ops if resource.startswith(f"{type_}::") and op != "same"]


def _targets(account: Account) -> dict[str, set[int]]:
    """Give each host name's ports on the nodes it is led to."""
    balancing = account.client("elbv2")
    (balancer,) = balancing.describe_load_balancers()["LoadBalancers"]
    listeners = balancing.describe_listeners(LoadBalancerArn=balancer["LoadBalancerArn"])
    ports: dict[str, set[int]] = {}
    for listener in listeners["Listeners"]:
        for rule in balancing.describe_rules(ListenerArn=listener["ListenerArn"])["Rules"]:
            for condition in rule["Conditions"]:
                (action,) = rule["Actions"]
                health = balancing.describe_target_health(TargetGroupArn=action["TargetGroupArn"])
                (host,) = condition["HostHeaderConfig"]["Values"]
                found = health["TargetHealthDescriptions"]
                ports[host] = {entry["Target"]["Port"] for entry in found}
    return ports


def _nodes(account: Account) -> set[str]:
    """Give the instances that any target group has."""
    balancing = account.client("elbv2")
    return {
        entry["Target"]["Id"]
        for group in balancing.describe_target_groups()["TargetGroups"]
        for entry in balancing.describe_target_health(TargetGroupArn=group["TargetGroupArn"])[
            "TargetHealthDescriptions"
        ]
    }


def test_hosts_lead_to_the_nodes_and_all_of_it_goes_again(world: World, account: Account) -> None:
    world.done("config", "set", "small", "false")
    before = account.listing()
    world.done("up")
    _no_change(world)

    assert _targets(account) == {
        "api-service.mono-repo.internal": {30080},
        "web-app.mono-repo.internal": {30081},
    }
    (zone,) = account.client("route53").list_hosted_zones()["HostedZones"]
    records = account.client("route53").list_resource_record_sets(HostedZoneId=zone["Id"])
    assert {
        record["Name"] for record in records["ResourceRecordSets"] if record["Type"] == "A"
    } == {
        "api-service.mono-repo.internal.",
        "web-app.mono-repo.internal.",
    }

    world.done("destroy")
    assert difference(before, account.listing()) == {}


def test_a_new_port_is_ready_before_the_old_one_goes(world: World, account: Account) -> None:
    world.done("up")
    world.done("config", "set", "port", "30090")
    moved = world.done("up")

    assert _begun(moved, "aws:lb/targetGroup:TargetGroup") == [
        "create-replacement",
        "replace",
        "delete-replaced",
    ]
    assert _begun(moved, "aws:lb/listenerRule:ListenerRule") == ["update"]
    order = [(resource.split("::")[0], op) for resource, op in moved.ops]
    opened = order.index(("aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule", "create"))
    led = order.index(("aws:lb/listenerRule:ListenerRule", "update"))
    closed = order.index(("aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule", "delete"))
    assert opened < led < closed
    assert _targets(account)["api-service.mono-repo.internal"] == {30090}
    _no_change(world)


def test_new_nodes_are_registered_before_the_old_ones_leave(
    world: World, account: Account, variables: dict[str, str]
) -> None:
    world.done("up")
    world.done("config", "set", "scaling_group", make_scaling_group(variables, "nodes-two", 1))
    swapped = world.done("up")

    attached = _begun(swapped, "aws:autoscaling/attachment:Attachment")
    assert attached.index("create-replacement") < attached.index("delete-replaced")
    groups = account.client("autoscaling").describe_auto_scaling_groups()["AutoScalingGroups"]
    joined = {group["AutoScalingGroupName"]: len(group["TargetGroupARNs"]) for group in groups}
    assert joined == {"nodes-one": 0, "nodes-two": 2}
    _no_change(world)


def test_a_replaced_node_group_leaves_no_trace_in_the_target_groups(
    world: World, account: Account
) -> None:
    before = account.listing()
    world.done("config", "set", "instance_type", "t4g.large")
    world.done("up")
    old = _nodes(account)
    world.done("config", "set", "instance_type", "m7g.large")
    swapped = world.done("up")

    assert _begun(swapped, "aws:eks/nodeGroup:NodeGroup") == [
        "create-replacement",
        "replace",
        "delete-replaced",
    ]
    new = _nodes(account)
    assert len(old) == len(new) == 1
    assert not old & new
    _no_change(world)

    world.done("destroy")
    assert difference(before, account.listing()) == {}


def test_edits_out_of_band_are_found_and_healed(world: World, account: Account) -> None:
    world.done("up")
    balancing, watching = account.client("elbv2"), account.client("cloudwatch")
    arn = world.outputs()["arn"]
    balancing.modify_load_balancer_attributes(
        LoadBalancerArn=arn,
        Attributes=[
            {"Key": "routing.http.desync_mitigation_mode", "Value": "monitor"},
            {"Key": "access_logs.s3.enabled", "Value": "false"},
        ],
    )
    (listener,) = balancing.describe_listeners(LoadBalancerArn=arn)["Listeners"]
    rules = balancing.describe_rules(ListenerArn=listener["ListenerArn"])["Rules"]
    balancing.delete_rule(
        RuleArn=next(rule["RuleArn"] for rule in rules if rule["Priority"] == "30081")
    )
    watching.disable_alarm_actions(AlarmNames=["mono-repo-dev-nodes-not-ready"])

    found = world.done("preview", "--refresh")
    assert ("aws:lb/listenerRule:ListenerRule::load-balancer-web-app", "create") in found.ops
    assert ("aws:lb/loadBalancer:LoadBalancer::load-balancer", "update") in found.ops
    assert ("aws:cloudwatch/metricAlarm:MetricAlarm::alarms-nodes-not-ready", "update") in found.ops

    world.done("up", "--refresh")
    _no_change(world)
    attributes = balancing.describe_load_balancer_attributes(LoadBalancerArn=arn)["Attributes"]
    assert {"Key": "routing.http.desync_mitigation_mode", "Value": "strictest"} in attributes
    assert {"Key": "access_logs.s3.enabled", "Value": "true"} in attributes


def test_https_is_served_and_http_redirects_once_there_is_a_certificate(
    world: World, account: Account
) -> None:
    world.done("up")
    certificate = account.client("acm").request_certificate(
        DomainName="mono-repo.internal", ValidationMethod="DNS"
    )["CertificateArn"]
    world.done("config", "set", "certificate", certificate)
    world.done("up")
    _no_change(world)

    served = account.client("elbv2").describe_listeners(LoadBalancerArn=world.outputs()["arn"])
    listeners: dict[int, Any] = {entry["Port"]: entry for entry in served["Listeners"]}
    assert listeners[443]["Certificates"][0]["CertificateArn"] == certificate
    assert listeners[443]["SslPolicy"] == "ELBSecurityPolicy-TLS13-1-2-Res-2021-06"
    assert listeners[80]["DefaultActions"][0]["RedirectConfig"]["Port"] == "443"
    assert set(_targets(account)) == {
        "api-service.mono-repo.internal",
        "web-app.mono-repo.internal",
    }


def test_a_protected_load_balancer_is_deleted_only_after_a_teardowns_update(
    world: World, account: Account
) -> None:
    world.done("config", "set", "protect", "true")
    world.done("up")
    refused = world.run("destroy")
    assert not refused.ok
    assert any("deletion protection is enabled" in text for text in refused.messages("error"))
    assert account.client("elbv2").describe_load_balancers()["LoadBalancers"]

    world.done("config", "set", "protect", "false")
    world.done("up", "--refresh")
    world.done("destroy")
    assert not account.client("elbv2").describe_load_balancers()["LoadBalancers"]
