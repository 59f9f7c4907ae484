"""Updates through the Automation API: what is asked of it, and what its failures become."""

from __future__ import annotations

import dataclasses
import json
import re
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import pytest
from pulumi.automation import CommandResult, Stack
from pulumi.automation.errors import create_command_error
from pulumi.automation.events import EngineEvent

from ops import update
from ops.errors import CancelledError, ExitCode, OpsError, RefusedError
from ops.report import UpdateReport, Verification
from ops.tree import UpdateLog
from tests.ops.events import VPC, done, failed, pre, says, summary, urn
from tests.ops.test_render import HEADER

LOG_GROUP = urn("aws:cloudwatch/logGroup:LogGroup", "log")


@dataclass
class _Stack:
    """A stack that sends events and then ends as it is told."""

    events: tuple[EngineEvent, ...] = ()
    error: BaseException | None = None
    called: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def __getattr__(self, method: str) -> Callable[..., Any]:
        def call(*, on_event: Callable[[EngineEvent], None], **arguments: Any) -> Any:
            self.called.append((method, arguments))
            for event in self.events:
                on_event(event)
            if self.error:
                raise self.error
            return None

        return call

    name = "dev"

    @property
    def workspace(self) -> Any:
        """What its outputs are asked of: the CLI, which masks what is not to be shown."""

        def run(arguments: list[str], *_where: object) -> CommandResult:
            shown = "k" if "--show-secrets" in arguments else "[secret]"
            text = json.dumps({"key": shown, "nested": {"key": shown}})
            return CommandResult(stdout=text, stderr="", code=0)

        command = SimpleNamespace(run=run)
        return SimpleNamespace(pulumi_command=command, work_dir=".", env_vars={})


def _run(
    stack: _Stack,
    command: update.Command = "up",
    options: update.Options | None = None,
    *,
    dry_run: bool = False,
) -> UpdateReport:
    return update.run(
        cast("Stack", stack),
        command,
        header=HEADER,
        options=options or update.Options(),
        log=UpdateLog(dry_run=dry_run),
    )


def _refused(stderr: str) -> Exception:
    return create_command_error(CommandResult("", stderr, 255))


@pytest.mark.parametrize(
    ("command", "dry_run", "method"),
    [
        ("preview", True, "preview"),
        ("up", True, "preview"),
        ("up", False, "up"),
        ("refresh", True, "preview_refresh"),
        ("refresh", False, "refresh"),
        ("destroy", True, "preview_destroy"),
        ("destroy", False, "destroy"),
    ],
)
def test_a_dry_run_only_ever_calls_what_changes_nothing(
    command: update.Command, method: str, *, dry_run: bool
) -> None:
    stack = _Stack()
    _run(stack, command, dry_run=dry_run)
    assert [called for called, _ in stack.called] == [method]


@pytest.mark.parametrize("command", ["up", "refresh", "destroy"])
def test_secrets_are_never_asked_for(command: update.Command) -> None:
    stack = _Stack()
    _run(stack, command)
    assert stack.called[0][1]["show_secrets"] is False


@pytest.mark.parametrize(
    ("command", "dry_run"),
    [("preview", True), *((c, d) for c in ("up", "refresh", "destroy") for d in (True, False))],
)
def test_every_option_is_one_that_the_sdks_method_takes(
    command: update.Command, *, dry_run: bool
) -> None:
    import inspect

    stack = _Stack()
    options = update.Options(
        targets=(VPC,),
        target_dependents=True,
        refresh=True,
        clear_pending_creates=True,
        parallel=4,
        message="m",
        config_file="f",
    )
    _run(stack, command, options, dry_run=dry_run)
    method, arguments = stack.called[0]
    assert set(arguments) <= set(inspect.signature(getattr(Stack, method)).parameters)
    assert arguments["target"] == [VPC]


def test_outputs_are_masked_inside_of_others_too() -> None:
    assert _run(_Stack()).outputs == {"key": "[secret]", "nested": {"key": "[secret]"}}
    shown = update.outputs_of(cast("Stack", _Stack()), show_secrets=True)
    assert shown == {"key": "k", "nested": {"key": "k"}}


def test_a_locked_stack_is_refused_and_the_message_names_the_owner() -> None:
    owner = "created by jane-doe@laptop (pid 7) at 2026-12-01T10:00:00Z"
    stack = _Stack(error=_refused(f"error: the stack is currently locked by 1 lock(s)\n {owner}"))
    with pytest.raises(RefusedError) as caught:
        _run(stack)
    assert caught.value.exit_code == ExitCode.REFUSED
    assert owner in str(caught.value)
    assert "Nothing was changed" in str(caught.value)


def test_what_the_engine_says_at_its_end_is_in_the_report_without_framing() -> None:
    report = _run(_Stack(error=_refused("error: the disk is full\n")))
    assert (report.result, report.error) == ("failed", "the disk is full")
    assert [diagnostic.message for diagnostic in report.diagnostics] == ["the disk is full"]


def test_the_engines_last_word_is_not_repeated() -> None:
    stack = _Stack((says("error", "VpcLimitExceeded", VPC),), _refused("error: VpcLimitExceeded"))
    assert len(_run(stack).diagnostics) == 1


def test_a_failure_before_any_change_is_an_error_and_one_after_a_change_is_partial() -> None:
    error = _refused("error: update failed")
    nothing = _run(_Stack((pre("create", VPC), failed("create", VPC)), error))
    assert update.exit_code(nothing) == ExitCode.ERROR
    something = _run(_Stack((pre("create", VPC), done("create", VPC)), error))
    assert update.exit_code(something) == ExitCode.PARTIAL
    same = _run(_Stack((pre("same", VPC), done("same", VPC)), error))
    assert update.exit_code(same) == ExitCode.ERROR


def test_changes_are_findings_only_with_the_detailed_exit_code() -> None:
    report = _run(_Stack((pre("create", VPC), summary(create=1, same=3))), "preview", dry_run=True)
    assert update.exit_code(report) == ExitCode.OK
    assert update.exit_code(report, detailed=True) == ExitCode.FINDINGS
    unchanged = _run(_Stack((pre("same", VPC), summary(same=3))), "preview", dry_run=True)
    assert update.exit_code(unchanged, detailed=True) == ExitCode.OK


def test_a_cancelled_update_says_how_much_was_done() -> None:
    stack = _Stack((pre("create", VPC), done("create", VPC)), KeyboardInterrupt())
    with pytest.raises(CancelledError, match="1 change was completed") as caught:
        _run(stack)
    assert caught.value.exit_code == ExitCode.CANCELLED
    with pytest.raises(CancelledError, match="nothing was changed"):
        _run(stack, dry_run=True)


def _verify(*events: EngineEvent) -> Verification:
    log = UpdateLog(dry_run=True, is_recorded=lambda type_: "cloudwatch" in type_)
    return update.verify(cast("Stack", _Stack(events)), header=HEADER, log=log)


def test_a_verification_counts_what_was_read_back_and_leaves_recorded_ones_out() -> None:
    value = _verify(
        pre("refresh", VPC), done("same", VPC), pre("refresh", LOG_GROUP), done("same", LOG_GROUP)
    )
    assert (value.holds, value.read, value.recorded) == (True, 1, 1)


def test_a_difference_found_by_the_verification_is_a_finding() -> None:
    value = _verify(pre("refresh", VPC), done("delete", VPC))
    assert not value.holds
    report = update.with_verification(_run(_Stack()), value)
    assert update.exit_code(report) == ExitCode.FINDINGS


def test_a_verification_that_cannot_be_made_says_that_the_update_itself_succeeded() -> None:
    stack = cast("Stack", _Stack(error=_refused("error: denied")))
    with pytest.raises(OpsError, match=r"denied\. The update itself succeeded"):
        update.verify(stack, header=HEADER, log=UpdateLog(dry_run=True))


def test_an_interrupt_is_the_clis_to_handle_and_its_result_is_awaited() -> None:
    class Interrupted(_Stack):
        def __getattr__(self, method: str) -> Callable[..., Any]:
            def call(*, on_event: Callable[[EngineEvent], None], **_arguments: Any) -> Any:
                on_event(self.events[0])
                signal.raise_signal(signal.SIGINT)
                signal.raise_signal(signal.SIGINT)
                raise _refused("")

            return call

    before = signal.getsignal(signal.SIGINT)
    report = update.run(
        cast("Stack", Interrupted((says("error", "update canceled"),))),
        "up",
        header=dataclasses.replace(HEADER, mode="aws"),
        options=update.Options(),
        log=UpdateLog(dry_run=False),
    )
    assert update.exit_code(report) == ExitCode.CANCELLED
    assert signal.getsignal(signal.SIGINT) == before


def _hash(*events: EngineEvent, command: update.Command = "up") -> str:
    return update.plan_hash(_run(_Stack(events), command, dry_run=True))


def test_a_plan_is_known_by_what_it_changes_whatever_comes_first() -> None:
    vpc = pre("create", VPC, new={"cidrBlock": "10.0.0.0/16"})
    log = pre("update", LOG_GROUP, new={"retentionInDays": 7})
    same = pre("same", urn("aws:s3/bucket:Bucket", "kept"))
    assert _hash(vpc, log) == _hash(log, vpc, same)
    assert re.fullmatch("[0-9a-f]{16}", _hash(vpc))


@pytest.mark.parametrize(
    "other",
    [
        pre("create", VPC, new={"cidrBlock": "10.1.0.0/16"}),
        pre("update", VPC, new={"cidrBlock": "10.0.0.0/16"}),
        pre("create", LOG_GROUP, new={"cidrBlock": "10.0.0.0/16"}),
    ],
)
def test_another_property_operation_or_resource_is_another_plan(other: EngineEvent) -> None:
    assert _hash(other) != _hash(pre("create", VPC, new={"cidrBlock": "10.0.0.0/16"}))


def test_the_same_changes_by_another_command_are_another_plan() -> None:
    vpc = pre("delete", VPC)
    assert _hash(vpc, command="destroy") != _hash(vpc)


def test_how_a_secret_is_encrypted_makes_no_other_plan() -> None:
    def secret(text: str) -> EngineEvent:
        signature = {"4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270"}
        return pre("create", VPC, new={"password": {**signature, "ciphertext": text}})

    assert _hash(secret("v1:abc")) == _hash(secret("v1:xyz"))
