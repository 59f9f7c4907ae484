"""What is read from engine events."""

from __future__ import annotations

from ops.tree import (
    UpdateLog,
    in_tree_order,
    path_segments,
    presentable,
    service,
    short_type,
    shown,
)
from tests.ops.events import STACK, VPC, done, failed, pre, says, summary, urn

SUBNET = urn("aws:ec2/subnet:Subnet", "subnet-a")


def _log(*events: object, dry_run: bool = True) -> UpdateLog:
    log = UpdateLog(dry_run=dry_run, clock=iter(range(1000)).__next__)
    for event in events:
        log.take(event)  # type: ignore[arg-type]
    return log


def test_a_child_that_comes_before_its_parent_still_stands_below_it() -> None:
    log = _log(
        pre("delete", SUBNET, parent=VPC), pre("delete", VPC), pre("delete", STACK, parent="")
    )
    assert [change.urn for change in log.resources()] == [STACK, VPC, SUBNET]


def test_a_parent_cycle_in_events_does_not_hang() -> None:
    log = _log(pre("create", VPC, parent=VPC))
    assert [change.urn for change in log.resources()] == [VPC]
    assert list(in_tree_order([])) == []


def test_an_unchanged_parent_of_a_change_is_shown_and_an_unchanged_sibling_is_not() -> None:
    log = _log(
        pre("same", STACK, parent=""),
        pre("same", VPC),
        pre("same", urn("aws:kms/key:Key", "k")),
        pre("update", SUBNET, parent=VPC),
    )
    assert [change.urn for change in shown(log.resources())] == [STACK, VPC, SUBNET]


def test_the_three_steps_of_a_replacement_are_one_replacement_with_the_keys_that_force_it() -> None:
    detailed = {"cidrBlock": {"diffKind": "update-replace", "inputDiff": True}}
    sides = {"old": {"cidrBlock": "10.0.0.0/16"}, "new": {"cidrBlock": "10.9.0.0/16"}}
    log = _log(
        pre("create-replacement", VPC, keys=["cidrBlock"], detailedDiff=detailed, **sides),
        pre("replace", VPC, keys=["cidrBlock"], detailedDiff=detailed, **sides),
        pre("delete-replaced", VPC),
    )
    (change,) = log.resources()
    assert (change.op, change.replace_keys) == ("replace", ("cidrBlock",))
    (item,) = change.changes
    assert (item.kind, item.replaces, item.new) == ("update", True, "10.9.0.0/16")


def test_old_and_new_of_a_property_deep_in_a_map_and_a_list_are_told() -> None:
    detailed = {
        'tags["a.b"]': {"diffKind": "update", "inputDiff": True},
        "ingress[1].port": {"diffKind": "add", "inputDiff": True},
        "gone": {"diffKind": "delete", "inputDiff": True},
    }
    log = _log(
        pre(
            "update",
            VPC,
            detailedDiff=detailed,
            old={"tags": {"a.b": "x"}, "ingress": [{}, {}], "gone": 1},
            new={"tags": {"a.b": "y"}, "ingress": [{}, {"port": 443}]},
        )
    )
    changes = {item.path: (item.kind, item.old, item.new) for item in log.resources()[0].changes}
    assert changes == {
        'tags["a.b"]': ("update", "x", "y"),
        "ingress[1].port": ("add", None, 443),
        "gone": ("delete", 1, None),
    }


def test_a_secret_is_masked_whichever_way_the_engine_writes_it() -> None:
    secret = {
        "4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270",
        "ciphertext": "v1:abc",
    }
    detailed = {"password.part": {"diffKind": "update", "inputDiff": True}}
    log = _log(
        pre(
            "update", VPC, detailedDiff=detailed, old={"password": secret}, new={"password": secret}
        )
    )
    (item,) = log.resources()[0].changes
    assert (item.old, item.new) == ("[secret]", "[secret]")
    assert presentable({"a": [secret, "[secret]"]}) == {"a": ["[secret]", "[secret]"]}


def test_an_unknown_value_is_told_in_words() -> None:
    assert presentable(["04da6b54-80e4-46f7-96ec-b56ff0331ba9"]) == ["(not known yet)"]


def test_a_refresh_says_what_it_found_and_not_that_it_refreshed() -> None:
    drift = {"tags": {"diffKind": "delete", "inputDiff": False}}
    log = _log(
        pre("refresh", VPC),
        done("update", VPC, detailedDiff=drift),
        pre("refresh", SUBNET),
        done("same", SUBNET),
    )
    found = {change.urn: change.op for change in log.resources()}
    assert found == {VPC: "update", SUBNET: "same"}
    assert [item.path for item in log.resources()[0].changes] == ["tags"]


def test_a_failure_carries_the_message_of_its_resource() -> None:
    log = _log(
        pre("create", VPC),
        says("error", "<{%reset%}>VpcLimitExceeded<{%reset%}>", VPC),
        failed("create", VPC),
        dry_run=False,
    )
    (change,) = log.resources()
    assert (change.status, change.messages) == ("failed", ("VpcLimitExceeded",))


def test_ephemeral_messages_are_not_kept() -> None:
    log = _log(says("info", "still creating", VPC, ephemeral=True), says("warning", "w"))
    assert [diagnostic.message for diagnostic in log.diagnostics] == ["w"]


def test_the_engines_own_counts_are_used_once_it_has_summed_up() -> None:
    log = _log(pre("create", VPC))
    assert log.counts == {"create": 1}
    log.take(summary(create=1, same=9))
    assert log.counts == {"create": 1, "same": 9}


def test_what_has_taken_longest_is_waited_for_first() -> None:
    log = _log(pre("create", VPC), pre("create", SUBNET), dry_run=False)
    assert [change.urn for change in log.running()] == [VPC, SUBNET]
    log.take(done("create", VPC))
    assert [change.urn for change in log.running()] == [SUBNET]


def test_only_resources_of_the_cloud_are_asked_whether_they_are_recorded() -> None:
    log = UpdateLog(dry_run=True, is_recorded=lambda _type: True)
    log.take(pre("create", STACK, parent=""))
    log.take(pre("create", VPC))
    assert [change.recorded for change in log.resources()] == [False, True]


def test_types_are_shortened_as_the_cli_does_and_sorted_into_services() -> None:
    assert short_type("aws:ec2/vpc:Vpc") == "aws:ec2:Vpc"
    assert short_type("pulumi:providers:aws") == "pulumi:providers:aws"
    assert short_type("mono-repo:index:Network") == "mono-repo:index:Network"
    assert (service("aws:ec2/vpc:Vpc"), service("random:index/id:Id")) == ("ec2", "random")


def test_property_paths_are_split_at_dots_indices_and_quoted_keys() -> None:
    assert path_segments('a.b[0]["x.y"].c') == ["a", "b", 0, "x.y", "c"]


def test_what_is_imported_and_brought_in_line_is_told_as_imported() -> None:
    for order in (("import", "update"), ("update", "import")):
        (change,) = _log(*(pre(op, VPC) for op in order)).resources()
        assert change.op == "import"
