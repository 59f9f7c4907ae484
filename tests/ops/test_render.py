"""What people read."""

from __future__ import annotations

import json
from collections.abc import Iterable

from ops import render
from ops.report import Header, OutputsReport, SandboxReport, UpdateReport, Verification, to_json
from ops.tree import Diagnostic, UpdateLog
from tests.ops.events import STACK, VPC, done, failed, pre, says, summary, urn

HEADER = Header(
    mode="sandbox",
    environment="dev",
    stack="mono-repo/dev",
    account_id="111122223333",
    region="us-east-1",
    cloud="sandbox 0a1b2c3d at http://127.0.0.1:5000",
)
NETWORK = urn("mono-repo:index:Network", "network")
LOG = urn("aws:cloudwatch/logGroup:LogGroup", "flow-log")


def _report(*events: object, dry_run: bool = True, **more: object) -> UpdateReport:
    log = UpdateLog(
        dry_run=dry_run,
        is_recorded=lambda type_: "cloudwatch" in type_,
        clock=iter(range(1000)).__next__,
    )
    for event in events:
        log.take(event)  # type: ignore[arg-type]
    fields = {
        "command": "preview" if dry_run else "up",
        "header": HEADER,
        "dry_run": dry_run,
        "result": "succeeded",
        "resources": log.resources(),
        "counts": log.counts,
        "diagnostics": log.diagnostics,
        "seconds": 4.2,
        **more,
    }
    return UpdateReport(**fields)  # type: ignore[arg-type]


def _text(lines: Iterable[render.Line]) -> str:
    return "\n".join(line.text for line in lines)


def test_a_plan_is_a_tree_with_an_operation_a_line() -> None:
    report = _report(
        pre("create", STACK, parent=""),
        pre("create", NETWORK),
        pre("create", VPC, parent=NETWORK),
        pre("create", LOG, parent=NETWORK),
        pre("delete", urn("aws:kms/key:Key", "old")),
    )
    assert _text(render.tree(report.resources)).splitlines() == [
        " +  pulumi:pulumi:Stack            mono-repo-dev  create",
        " +  ├─ mono-repo:index:Network     network        create",
        " +  │  ├─ aws:ec2:Vpc              network-vpc    create",
        " +  │  └─ aws:cloudwatch:LogGroup  flow-log       create (recorded)",
        " -  └─ aws:kms:Key                 old            delete",
    ]


def test_nothing_to_do_is_said_and_shows_no_tree() -> None:
    report = _report(pre("same", STACK, parent=""), pre("same", VPC), summary(same=2))
    text = _text(render.update(report))
    assert "2 unchanged" in text
    assert "aws:ec2:Vpc" not in text


def test_counts_tell_what_is_to_be_done_and_how_many_are_only_recorded() -> None:
    text = _text(render.counts(_report(pre("create", VPC), pre("create", LOG))))
    assert "+ 2 to create" in text
    assert "1 of these only recorded: the sandbox's cloud has no API for them" in text


def test_after_an_update_it_says_what_was_done_and_how_long_each_took() -> None:
    report = _report(pre("create", VPC), done("create", VPC), dry_run=False)
    text = _text(render.update(report))
    assert "created (1.0 s)" in text
    assert "+ 1 created" in text


def test_a_changed_property_is_named_in_the_tree_and_told_in_full_with_diff() -> None:
    detailed = {"tags.Name": {"diffKind": "update", "inputDiff": True}}
    report = _report(
        pre(
            "update",
            VPC,
            detailedDiff=detailed,
            old={"tags": {"Name": "a"}},
            new={"tags": {"Name": "b"}},
        )
    )
    assert "[diff: ~tags]" in _text(render.tree(report.resources))
    assert "~ tags.Name: a → b" in _text(render.tree(report.resources, diff=True))


def test_a_property_that_forces_a_replacement_says_so() -> None:
    detailed = {"cidrBlock": {"diffKind": "update-replace", "inputDiff": True}}
    report = _report(
        pre("replace", VPC, detailedDiff=detailed, old={"cidrBlock": "a"}, new={"cidrBlock": "b"})
    )
    assert "cidrBlock: a → b (forces the replacement)" in _text(
        render.tree(report.resources, diff=True)
    )


def test_the_end_says_what_a_rehearsal_proves_and_nothing_on_aws() -> None:
    assert _text(render.closing(HEADER)).strip().startswith("A rehearsal: it proves the program")
    assert not list(render.closing(Header(**{**HEADER.__dict__, "mode": "aws"})))


def test_the_first_line_tells_mode_account_region_stack_and_cloud() -> None:
    assert render.header(HEADER).text == (
        "sandbox · account 111122223333 · us-east-1 · stack mono-repo/dev"
        " · sandbox 0a1b2c3d at http://127.0.0.1:5000"
    )


def test_a_failure_is_shown_in_the_tree_and_its_reason_once_below() -> None:
    report = _report(
        pre("create", VPC),
        says("error", "VpcLimitExceeded: no more", VPC),
        says("error", "VpcLimitExceeded: no more", VPC),
        failed("create", VPC),
        dry_run=False,
        result="failed",
        error="VpcLimitExceeded: no more",
    )
    text = _text(render.update(report))
    assert "FAILED to create" in text
    assert text.count("error: aws:ec2:Vpc network-vpc: VpcLimitExceeded: no more") == 1


def test_a_verification_that_fails_names_what_differs() -> None:
    found = _report(pre("refresh", VPC), done("delete", VPC))
    value = Verification(read=2, differing=found.resources, recorded=1)
    text = _text(render.verification(value))
    assert "NOT verified: of 2 resources read back, 1 differ" in text
    assert "aws:ec2:Vpc network-vpc: it is not there" in text


def test_the_json_form_is_versioned_and_complete() -> None:
    report = json.loads(to_json(_report(pre("create", VPC), summary(create=1))))
    assert (report["version"], report["command"], report["dry_run"]) == (1, "preview", True)
    assert report["header"]["mode"] == "sandbox"
    assert report["counts"] == {"create": 1}
    assert report["resources"][0]["urn"] == VPC


def test_markdown_escapes_what_would_break_its_table() -> None:
    name = urn("aws:ec2/vpc:Vpc", "a|b")
    assert "a\\|b" in _text(render.markdown(_report(pre("create", name))))


def test_outputs_are_sorted_nested_and_masked() -> None:
    report = OutputsReport(
        header=HEADER,
        outputs={"vpc_id": "vpc-1", "subnets": {"public": ["s-1"]}, "key": "[secret]"},
    )
    assert _text(render.outputs_report(report)).splitlines() == [
        "    key:     [secret]",
        "    subnets:",
        "        public:",
        "            - s-1",
        "    vpc_id:  vpc-1",
    ]


def test_an_inventory_counts_what_is_there_by_service_and_leaves_components_out() -> None:
    report = _report(
        pre("same", STACK, parent=""),
        pre("create", NETWORK),
        pre("create", VPC),
        pre("delete", LOG),
    )
    assert _text(render.inventory(report.resources)).split() == ["ec2", "1"]


def test_a_stack_whose_cloud_is_gone_is_marked_in_the_status() -> None:
    stack = {"project": "mono-repo", "stack": "dev", "resources": 3, "cloud": "gone"}
    report = SandboxReport(running=False, home="/h", message="It is not there.", stacks=[stack])
    assert "mono-repo/dev: 3 resources (of a cloud that is gone)" in _text(render.sandbox(report))


def test_messages_of_the_engine_without_a_resource_are_shown_too() -> None:
    report = _report(
        result="failed", diagnostics=(Diagnostic(severity="error", urn="", message="x\ny"),)
    )
    assert "    error: x\n        y" in _text(render.update(report))


def test_durations_read_as_people_say_them() -> None:
    assert [render.duration(value) for value in (0.44, 12.3, 185)] == ["0.4 s", "12 s", "3 min 5 s"]
