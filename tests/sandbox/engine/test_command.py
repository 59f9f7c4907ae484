import json
import os
import threading
from pathlib import Path
from typing import Any

import pytest
from pulumi import automation as auto
from pulumi.automation import events

from infra.sandbox.engine.backend import Backend, StackReference
from infra.sandbox.engine.deployment import UpdateContext, UpdateOptions, UpdateResult
from infra.sandbox.engine.state import Operation, Put, Snapshot
from infra.sandbox.engine.wire import Secret
from tests.sandbox.engine.store_fakes import (
    STACK_URN,
    Cli,
    Engine,
    bucket,
    make_home,
    make_project,
    puts,
    stack_resource,
)

CASES = Path(__file__).parents[2] / "conformance" / "cases"
DEV = StackReference("shop", "dev")
A, B = bucket("a"), bucket("b")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return make_home(tmp_path)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return make_project(tmp_path, "config:\n  shop:colour: red\n  shop:sizes: [1, 2]\n")


@pytest.fixture
def cli(home: Path, project: Path) -> Cli:
    return with_stack(home, project, puts(stack_resource({"out": Secret("hush")}), A))


def with_stack(home: Path, project: Path, engine: Engine, cloud: str | None = None) -> Cli:
    cli = Cli(home, project, engine, cloud=cloud)
    cli("stack", "init", "dev")
    return cli


def up(cli: Cli, *more: str) -> str:
    return cli("up", "--yes", "--skip-preview", "--stack", "dev", *more)


def failure(cli: Cli, *args: str) -> auto.CommandError:
    with pytest.raises(auto.CommandError) as raised:
        cli(*args)
    return raised.value


def exported(cli: Cli) -> Any:
    return json.loads(cli("stack", "export", "--show-secrets"))["deployment"]


# The Automation API -----------------------------------------------------------------------------


def open_stack(cli: Cli, name: str = "dev") -> auto.Stack:
    options = auto.LocalWorkspaceOptions(pulumi_command=cli.command)  # type: ignore[arg-type] # by shape
    return auto.create_or_select_stack(name, work_dir=str(cli.project), opts=options)


def test_the_automation_api_runs_unchanged_on_it(home: Path, project: Path) -> None:
    cli = Cli(home, project, puts(stack_resource({"out": Secret("hush"), "n": 1}), A))
    stack = open_stack(cli)
    seen: list[events.EngineEvent] = []

    preview = stack.preview(on_event=seen.append)
    result = stack.up(message="first", on_event=seen.append)

    assert preview.change_summary == {"create": 2}
    assert result.summary.kind == "update"
    assert result.summary.result == "succeeded"
    assert result.summary.message == "first"
    assert result.summary.resource_changes == {"create": 2}
    assert result.summary.config["shop:colour"].value == "red"
    assert result.outputs["out"].secret
    assert result.outputs["out"].value == "hush"
    assert result.outputs["n"].value == 1
    assert [event.sequence for event in seen if event.summary_event] == [1, 1]
    assert stack.workspace.list_stacks()[0].resource_count == 2
    assert stack.workspace.who_am_i().user
    assert stack.workspace.stack().name == "dev"  # type: ignore[union-attr] # it is selected


def test_events_reach_an_older_sdk_through_a_file(cli: Cli, tmp_path: Path) -> None:
    log = tmp_path / "events"
    up(cli, "--event-log", str(log))

    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [line["sequence"] for line in lines] == list(range(len(lines)))
    assert "preludeEvent" in lines[0]
    assert lines[-1]["cancelEvent"] == {}
    assert all(line["timestamp"] > 0 for line in lines)


def test_the_sdks_own_errors_are_raised(cli: Cli) -> None:
    with pytest.raises(auto.StackNotFoundError, match="no stack named 'nosuch' found"):
        cli("stack", "select", "--stack", "nosuch")
    with pytest.raises(auto.StackAlreadyExistsError):
        cli("stack", "init", "dev")
    with Backend(cli.home, version="v3").lock(DEV, "pulumi up"):
        with pytest.raises(auto.ConcurrentUpdateError, match=f"pid {os.getpid()}"):
            up(cli)
        with pytest.raises(auto.ConcurrentUpdateError):
            cli("stack", "rm", "--yes", "dev")


def test_an_error_of_the_cloud_is_not_taken_for_one_about_stacks(home: Path, project: Path) -> None:
    text = "creating urn: the repository of stack x already exists"
    cli = with_stack(home, project, puts(stack_resource(), error=text))

    with pytest.raises(auto.CommandError) as raised:
        up(cli)

    assert type(raised.value) is auto.CommandError
    assert text in str(raised.value)


def test_a_program_that_raises_is_the_sdks_runtime_error(home: Path, project: Path) -> None:
    def engine(context: UpdateContext, options: UpdateOptions) -> UpdateResult:
        message = "Program failed with an unhandled exception:\nValueError: x"
        context.emit(
            {"diagnosticEvent": {"severity": "error", "prefix": "error: ", "message": message}}
        )
        return UpdateResult(context.snapshot, {}, message)

    cli = with_stack(home, project, engine)

    with pytest.raises(auto.errors.RuntimeError):
        up(cli)


def test_config_goes_through_the_automation_api(cli: Cli) -> None:
    stack = open_stack(cli)
    stack.set_config("token", auto.ConfigValue("-hush-", secret=True))
    stack.set_config("nested.deep", auto.ConfigValue("7"), path=True)
    stack.set_all_config({"a": auto.ConfigValue("1"), "b": auto.ConfigValue("s", secret=True)})
    stack.remove_config("colour")

    everything = stack.get_all_config()
    assert everything["shop:token"].value == "-hush-"
    assert everything["shop:token"].secret
    assert everything["shop:nested"].value == '{"deep":7}'
    assert everything["shop:b"].secret
    assert "shop:colour" not in everything
    assert stack.get_config("nested.deep", path=True).value == "7"
    stack.remove_all_config(["a", "b"])
    assert set(stack.get_all_config()) == {"shop:sizes", "shop:token", "shop:nested"}


def test_set_all_json_takes_what_config_json_gives(cli: Cli) -> None:
    stack = open_stack(cli)
    stack.set_config("secobj.in", auto.ConfigValue("hush", secret=True), path=True)
    before = cli("config", "--json", "--show-secrets")

    stack.set_all_config_json(before)

    assert cli("config", "--json", "--show-secrets") == before
    assert "hush" not in cli("config", "--json")


def test_tags_and_history_go_through_the_automation_api(cli: Cli) -> None:
    stack = open_stack(cli)
    stack.set_tag("team", "ops")
    stack.set_tag("gone", "x")
    stack.remove_tag("gone")
    for message in ("one", "two", "three"):
        stack.up(message=message)

    assert stack.list_tags() == {"team": "ops"}
    assert stack.get_tag("team") == "ops"
    assert [update.message for update in stack.history()] == ["three", "two", "one"]
    assert [update.message for update in stack.history(page_size=1, page=2)] == ["two"]
    info = stack.info()
    assert info is not None
    assert info.version == 3


def test_export_and_import_go_through_the_automation_api(cli: Cli) -> None:
    stack = open_stack(cli)
    stack.up()
    deployment = stack.export_stack()
    up_to_date = exported(cli)["resources"]
    cli("state", "delete", "--all", "--yes")
    assert "resources" not in exported(cli)

    stack.import_stack(deployment)

    assert exported(cli)["resources"] == up_to_date
    assert "hush" not in (cli.home / ".pulumi/stacks/shop/dev.json").read_text()


def test_a_stack_is_renamed_in_all_its_urns(cli: Cli) -> None:
    stack = open_stack(cli)
    stack.up()

    stack.rename("staging")

    assert [entry["urn"] for entry in exported(cli)["resources"]] == [
        "urn:pulumi:staging::shop::pulumi:pulumi:Stack::shop-staging",
        "urn:pulumi:staging::shop::aws:s3/bucket:Bucket::a",
    ]
    assert [summary.name for summary in stack.workspace.list_stacks()] == ["staging"]
    assert (cli.project / "Pulumi.dev.yaml").exists()


def test_cancel_stops_the_update_that_is_running(home: Path, project: Path) -> None:
    running = threading.Event()

    def engine(context: UpdateContext, options: UpdateOptions) -> UpdateResult:
        running.set()
        stopped = context.cancelled.wait(30)
        return UpdateResult(context.snapshot, {}, "canceled" if stopped else None)

    cli = with_stack(home, project, engine)
    stack = open_stack(cli)
    failures: list[Exception] = []

    def update() -> None:
        try:
            stack.up()
        except auto.CommandError as error:
            failures.append(error)

    thread = threading.Thread(target=update)
    thread.start()
    assert running.wait(30)
    stack.cancel()
    thread.join(30)

    assert "error: canceled" in str(failures[0])
    with pytest.raises(auto.CommandError, match="nothing to cancel"):
        stack.cancel()


def test_remove_takes_the_stack_away_only_when_it_is_empty(cli: Cli) -> None:
    stack = open_stack(cli)
    stack.up()

    with pytest.raises(auto.CommandError, match="'dev' still has resources; removal rejected"):
        stack.workspace.remove_stack("dev")
    stack.workspace.remove_stack("dev", force=True)
    assert stack.workspace.list_stacks() == []
    assert (cli.project / "Pulumi.dev.yaml").exists()


# Updates ----------------------------------------------------------------------------------------


def test_an_update_is_told_what_its_flags_say(home: Path, project: Path) -> None:
    asked: list[tuple[UpdateContext, UpdateOptions]] = []

    def engine(context: UpdateContext, options: UpdateOptions) -> UpdateResult:
        asked.append((context, options))
        return UpdateResult(context.snapshot)

    cli = with_stack(home, project, engine)
    cli("config", "set", "--secret", "token", "hush")
    up(cli, "--target", "u1", "-t", "u2", "--target-replace", "u3", "--replace", "u4",
       "--target-dependents", "--refresh=true", "--run-program=false", "--parallel", "4",
       "--continue-on-error", "--expect-no-changes", "--diff", "--color", "never")  # fmt: skip
    cli("destroy", "--preview-only", "--exclude-protected", "--exclude", "u5")
    cli("refresh", "--yes", "--skip-preview", "--clear-pending-creates", "--run-program")
    cli("preview")

    contexts = [context for context, _ in asked]
    update, destroy, refresh, preview = [options for _, options in asked]
    assert (update.kind, update.dry_run) == ("update", False)
    assert update.targets == ("u1", "u2", "u3")
    assert update.replace == ("u4", "u3")
    assert update.target_dependents
    assert update.refresh
    assert not update.run_program
    assert update.parallel == 4
    assert update.continue_on_error
    assert update.expect_no_changes
    assert (destroy.kind, destroy.dry_run) == ("destroy", True)
    assert destroy.exclude_protected
    assert destroy.excludes == ("u5",)
    assert (refresh.kind, refresh.dry_run, refresh.run_program) == ("refresh", False, True)
    assert refresh.clear_pending_creates
    assert (preview.kind, preview.dry_run) == ("preview", True)
    assert contexts[0].config == {
        "shop:colour": "red",
        "shop:sizes": "[1,2]",
        "shop:token": "hush",
    }
    assert contexts[0].secret_keys == {"shop:token"}
    assert (contexts[0].organization, contexts[0].project, contexts[0].stack) == (
        "organization",
        "shop",
        "dev",
    )
    assert [context.program is not None for context in contexts] == [True, False, True, True]


def test_a_preview_leaves_state_and_history_as_they_were(cli: Cli) -> None:
    up(cli)
    before = (cli.home / ".pulumi/stacks/shop/dev.json").read_bytes()

    output = cli("preview")

    assert "Previewing update (dev):" in output
    assert (cli.home / ".pulumi/stacks/shop/dev.json").read_bytes() == before
    assert len(json.loads(cli("stack", "history", "--json"))) == 1


def test_an_update_without_approval_is_refused(cli: Cli) -> None:
    error = failure(cli, "up")

    assert "--yes or --skip-preview must be passed in" in str(error)
    assert "resources" not in exported(cli)


def test_a_failed_update_keeps_what_it_made_and_tells_why(home: Path, project: Path) -> None:
    cli = with_stack(home, project, puts(stack_resource(), A, error="creating b: denied"))

    error = failure(cli, "up", "--yes", "--skip-preview")

    assert "code: 1" in str(error)
    assert "error: creating b: denied" in str(error)
    assert [entry["urn"] for entry in exported(cli)["resources"]] == [STACK_URN, A.urn]
    assert json.loads(cli("stack", "history", "--json"))[0]["result"] == "failed"


def test_unexpected_changes_have_the_clis_exit_code(home: Path, project: Path) -> None:
    text = "no changes were expected for refresh but changes were proposed"
    cli = with_stack(home, project, puts(stack_resource(), error=text))

    error = failure(cli, "refresh", "--yes", "--skip-preview", "--expect-no-changes")

    assert "code: 7" in str(error)


def test_an_engine_that_breaks_leaves_its_records_in_the_state(home: Path, project: Path) -> None:
    def engine(context: UpdateContext, options: UpdateOptions) -> UpdateResult:
        context.recorder.end(None, Put(stack_resource()))
        context.recorder.begin(Operation(A, "creating"))
        raise ZeroDivisionError

    cli = with_stack(home, project, engine)

    with pytest.raises(ZeroDivisionError):
        up(cli)

    deployment = exported(cli)
    assert [entry["urn"] for entry in deployment["resources"]] == [STACK_URN]
    assert deployment["pending_operations"][0]["type"] == "creating"
    assert not (cli.home / ".pulumi/stacks/shop/dev.journal").exists()


def test_an_interrupted_update_is_told_at_the_next_one(home: Path, project: Path) -> None:
    def killed(context: UpdateContext, options: UpdateOptions) -> UpdateResult:
        context.recorder.end(None, Put(stack_resource()))
        journal = home / ".pulumi/stacks/shop/dev.journal"
        left.write_bytes(journal.read_bytes())
        return UpdateResult(context.snapshot)

    left = home / "left"
    cli = with_stack(home, project, killed)
    state = home / ".pulumi/stacks/shop/dev.json"
    before = state.read_bytes()
    up(cli)
    state.write_bytes(before)
    (home / ".pulumi/stacks/shop/dev.journal").write_bytes(left.read_bytes())

    result = cli.run("state", "protect", "--all", "--yes")

    assert "note: an update of stack 'dev' was interrupted" in result.stderr
    assert exported(cli)["resources"][0]["protect"] is True


def test_a_state_of_another_cloud_is_refused_before_anything_is_done(
    home: Path, project: Path
) -> None:
    cli = with_stack(home, project, puts(stack_resource(), A), cloud="cloud-1")
    up(cli)
    other = Cli(home, project, puts(), cloud="cloud-2")

    error = failure(other, "up", "--yes", "--skip-preview")

    assert "found cloud-2, expected cloud-1" in str(error)
    assert len(exported(other)["resources"]) == 2
    assert "expected cloud-1" in str(failure(other, "preview"))
    assert other("stack", "output", "--json") == "{}"


def test_the_output_reads_like_the_clis(home: Path, project: Path) -> None:
    urn = A.urn

    def engine(context: UpdateContext, options: UpdateOptions) -> UpdateResult:
        metadata = {
            "op": "update",
            "urn": urn,
            "type": A.type,
            "old": None,
            "new": None,
            "detailedDiff": {
                "tags.x": {"diffKind": "add", "inputDiff": True},
                "name": {"diffKind": "update-replace", "inputDiff": True},
            },
        }
        context.emit({"resourcePreEvent": {"metadata": metadata}})
        context.emit(
            {
                "diagnosticEvent": {
                    "urn": urn,
                    "severity": "warning",
                    "prefix": "warning: ",
                    "message": "careful\nvery",
                }
            }
        )
        context.emit({"resOutputsEvent": {"metadata": metadata}})
        changes = {"update": 1, "create": 2, "same": 3}
        context.emit({"summaryEvent": {"resourceChanges": changes, "durationSeconds": 4}})
        return UpdateResult(Snapshot((stack_resource({"s": Secret("hush"), "name": "n"}),)))

    cli = with_stack(home, project, engine)

    assert up(cli).splitlines() == [
        "Updating (dev):",
        "",
        " ~  aws:s3/bucket:Bucket a updating [diff: ~name!,+tags.x]",
        " ~  aws:s3/bucket:Bucket a updated [diff: ~name!,+tags.x]",
        "",
        "Diagnostics:",
        "  aws:s3/bucket:Bucket (a):",
        "    warning: careful",
        "    very",
        "",
        "Outputs:",
        '    name: "n"',
        '    s   : "[secret]"',
        "",
        "Resources:",
        "    + 2 created",
        "    ~ 1 updated",
        "    3 changes. 3 unchanged",
        "",
        "Duration: 4s",
    ]


def test_preview_json_is_one_document_that_tells_no_secret(home: Path, project: Path) -> None:
    def engine(context: UpdateContext, options: UpdateOptions) -> UpdateResult:
        context.emit({"preludeEvent": {"config": {"shop:token": "[secret]"}}})
        secret = {
            "4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270",
            "ciphertext": "[secret]",
        }
        new = {"urn": A.urn, "type": A.type, "custom": True, "inputs": {"p": secret, "q": [1]}}
        metadata = {"op": "create", "urn": A.urn, "type": A.type, "old": None, "new": new}
        context.emit({"resourcePreEvent": {"metadata": metadata}})
        context.emit({"summaryEvent": {"resourceChanges": {"create": 1}, "durationSeconds": 0}})
        return UpdateResult(context.snapshot, {"create": 1})

    cli = with_stack(home, project, engine)

    document = json.loads(cli("preview", "--json"))

    assert sorted(document) == ["changeSummary", "config", "duration", "steps"]
    assert document["changeSummary"] == {"create": 1}
    step = document["steps"][0]
    assert (step["op"], step["urn"], step["detailedDiff"]) == ("create", A.urn, None)
    assert step["newState"]["inputs"] == {"p": "[secret]", "q": [1]}


def test_another_stacks_outputs_are_read_for_references(home: Path, project: Path) -> None:
    read: list[object] = []

    def engine(context: UpdateContext, options: UpdateOptions) -> UpdateResult:
        if context.stack == "consumer":
            read.append(context.stack_outputs("organization/shop/dev"))
            with pytest.raises(LookupError, match='unknown stack "organization/shop/nosuch"'):
                context.stack_outputs("organization/shop/nosuch")
        return UpdateResult(Snapshot((stack_resource({"a": [1, Secret("hush")]}),)))

    cli = with_stack(home, project, engine)
    up(cli)
    cli("stack", "init", "consumer")
    cli("preview", "--stack", "consumer")

    assert read == [{"a": [1, Secret("hush")]}]


def test_a_missing_required_key_stops_the_update(home: Path, tmp_path: Path) -> None:
    project = make_project(tmp_path, config="config:\n  size: {type: integer}\n")
    cli = with_stack(home, project, puts())

    error = failure(cli, "preview")

    assert "Stack 'dev' is missing configuration value 'size'" in str(error)
    cli("config", "set", "size", "3")
    assert cli("preview")


# Configuration ----------------------------------------------------------------------------------


def test_the_recorded_config_commands_print_what_the_cli_prints(home: Path, tmp_path: Path) -> None:
    steps = json.loads((CASES / "16-config" / "expected.json").read_text())
    project = tmp_path / "case"
    project.mkdir()
    (project / "Pulumi.yaml").write_text("name: 16config\nruntime: python\n")
    text = steps[0]["text"].replace("encryptionsalt: ${salt}\n", "")
    (project / "Pulumi.dev.yaml").write_text(text)
    cli = Cli(home, project)
    cli("stack", "init", "dev")
    compared = 0
    for step in steps[1:]:
        if step["command"] != "cli":
            continue
        if not step["exit_ok"]:
            assert step["stderr"] in str(failure(cli, *step["args"]))
            continue
        output = cli(*step["args"])
        compared += 1
        if "stdout_json" in step:
            assert json.loads(output) == step["stdout_json"], step["step"]
        else:
            assert output == step["stdout"], step["step"]
    assert compared > 12
    assert (project / "Pulumi.dev.yaml").read_text() == text


def test_a_foreign_secret_in_the_stack_file_is_named(home: Path, tmp_path: Path) -> None:
    project = make_project(tmp_path, "config:\n  shop:token: {secure: v1:AAAAAAAAAAAAAAAA:AAAA}\n")
    cli = with_stack(home, project, puts())

    error = failure(cli, "preview")

    assert "the value of 'token' in Pulumi.dev.yaml cannot be decrypted" in str(error)
    assert "pulumi config set --secret token" in str(error)
    assert json.loads(cli("config", "--json")) == {"shop:token": {"secret": True}}


def test_an_override_that_no_longer_fits_the_file_is_told(cli: Cli) -> None:
    cli("config", "set", "--path", "sizes[2]", "3")
    (cli.project / "Pulumi.dev.yaml").write_text("config:\n  shop:sizes: []\n")

    error = failure(cli, "config")

    assert "sizes[2]: array index out of range" in str(error)
    assert "pulumi config rm" in str(error)


def test_a_refused_override_is_not_kept(cli: Cli) -> None:
    failure(cli, "config", "set", "--path", "sizes[9]", "3")

    assert json.loads(cli("config", "get", "sizes")) == [1, 2]


def test_config_refresh_goes_back_to_the_last_updates_configuration(cli: Cli) -> None:
    cli("config", "set", "--secret", "token", "hush")
    up(cli)
    cli("config", "rm", "token")
    cli("config", "set", "colour", "blue")
    cli("config", "set", "new", "x")

    cli("config", "refresh", "--force")

    shown = json.loads(cli("config", "--json", "--show-secrets"))
    assert {key: entry["value"] for key, entry in shown.items()} == {
        "shop:colour": "red",
        "shop:sizes": "[1,2]",
        "shop:token": "hush",
    }


def test_another_configuration_file_can_be_named(cli: Cli) -> None:
    (cli.project / "other.yaml").write_text("config:\n  shop:colour: green\n")

    assert cli("config", "get", "colour", "--config-file", "other.yaml") == "green"
    assert cli("config", "get", "colour") == "red"


# State ------------------------------------------------------------------------------------------


def state_cli(home: Path, project: Path) -> Cli:
    dependent = bucket("dependent", dependencies=(A.urn,))
    protected = A.changed(protect=True)
    cli = with_stack(home, project, puts(stack_resource(), protected, dependent, B))
    up(cli)
    return cli


def names(cli: Cli) -> list[str]:
    return [entry["urn"].rpartition("::")[2] for entry in exported(cli).get("resources", [])]


def test_unprotect_says_how_many_as_recorded(home: Path, project: Path) -> None:
    cli = state_cli(home, project)

    assert cli("state", "unprotect", A.urn, "--yes") == "1 resources unprotected"
    assert not any("protect" in entry for entry in exported(cli)["resources"])
    assert cli("state", "protect", "--all", "--yes") == "All resources protected"
    assert all(entry["protect"] for entry in exported(cli)["resources"])


def test_an_unknown_urn_comes_with_the_nearest_one(home: Path, project: Path) -> None:
    cli = state_cli(home, project)

    error = failure(cli, "state", "unprotect", A.urn + "x", "--yes")

    assert f'No such resource "{A.urn}x" exists in the current state' in str(error)
    assert f"Did you mean:\n  {A.urn}" in str(error)


def test_delete_refuses_what_others_depend_on_and_what_is_protected(
    home: Path, project: Path
) -> None:
    cli = state_cli(home, project)

    assert "because it is protected" in str(failure(cli, "state", "delete", A.urn))
    error = failure(cli, "state", "delete", A.urn, "--force")
    assert "because the following resources depend on it" in str(error)
    assert '"dependent"' in str(error)
    assert names(cli) == ["shop-dev", "a", "dependent", "b"]

    output = cli("state", "delete", A.urn, "--force", "--target-dependents", "--yes")
    assert output == "2 resources deleted"
    assert names(cli) == ["shop-dev", "b"]
    assert cli("state", "delete", B.urn, "--yes") == "Resource deleted"


def test_a_resource_is_renamed_with_all_references_to_it(home: Path, project: Path) -> None:
    cli = state_cli(home, project)

    cli("state", "rename", A.urn, "renamed", "--yes")

    assert names(cli) == ["shop-dev", "renamed", "dependent", "b"]
    dependencies = exported(cli)["resources"][2]["dependencies"]
    assert dependencies == [A.urn.removesuffix("::a") + "::renamed"]


def test_an_import_of_another_stacks_state_needs_force(cli: Cli, tmp_path: Path) -> None:
    up(cli)
    text = cli("stack", "export").replace("urn:pulumi:dev::", "urn:pulumi:prod::")
    (tmp_path / "state.json").write_text(text)

    error = failure(cli, "stack", "import", "--file", str(tmp_path / "state.json"))

    assert "is from a different stack or project" in str(error)
    assert "Nothing was changed" in str(error)
    cli("stack", "import", "--file", str(tmp_path / "state.json"), "--force")
    assert exported(cli)["resources"][0]["urn"].startswith("urn:pulumi:prod::")


def test_an_import_of_a_broken_state_changes_nothing(cli: Cli, tmp_path: Path) -> None:
    up(cli)
    document = json.loads(cli("stack", "export"))
    document["deployment"]["resources"].reverse()
    path = tmp_path / "state.json"
    path.write_text(json.dumps(document))

    assert "comes after it" in str(failure(cli, "stack", "import", "--file", str(path)))
    assert names(cli) == ["shop-dev", "a"]


# Everything else --------------------------------------------------------------------------------


def test_outputs_are_printed_as_recorded(home: Path, project: Path) -> None:
    outputs = {"list": ["p", Secret(2)], "name": "/c07/a", "value": Secret("s3cr3t")}
    cli = with_stack(home, project, puts(stack_resource(outputs)))
    up(cli)

    assert cli("stack", "output").splitlines() == [
        "Current stack outputs (3):",
        "    OUTPUT  VALUE",
        '    list    ["p","[secret]"]',
        "    name    /c07/a",
        "    value   [secret]",
    ]
    assert cli("stack", "output", "value") == "[secret]"
    assert cli("stack", "output", "value", "--show-secrets") == "s3cr3t"
    assert "does not have output property 'x'" in str(failure(cli, "stack", "output", "x"))


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("up", "--plan", "f"), "does not know the flag '--plan' of `pulumi up`. Nothing was done"),
        (("up", "--policy-pack", "d"), "'--policy-pack'"),
        (("preview", "--remote"), "'--remote'"),
        (("watch",), "does not know the command `pulumi watch`. Nothing was done"),
        (("stack", "graph", "f"), "`pulumi stack graph`"),
        (("config", "set", "only-a-key"), "takes <key> <value>, but 1 were given"),
        (("version", "x"), "takes no arguments"),
        (("up", "--yes", "--parallel", "many"), "--parallel must be a number"),
        (("up", "--refresh=maybe"), "expected true or false"),
        (("config", "set", "a", "b", "--secret", "--plaintext"), "only one of"),
        (("stack", "init", "a/b/c/d"), "is no stack name"),
        (("stack", "init", "x", "--secrets-provider", "gcpkms://k"), "unknown secrets provider"),
    ],
)
def test_what_the_sandbox_does_not_know_is_refused_and_not_ignored(
    cli: Cli, args: tuple[str, ...], message: str
) -> None:
    assert message in str(failure(cli, *args))


def test_without_a_project_the_error_says_where_it_was_looked_for(
    home: Path, tmp_path: Path
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    cli = Cli(home, empty)

    assert "no Pulumi.yaml project file found in" in str(failure(cli, "stack", "init", "dev"))


def test_without_a_selected_stack_the_error_says_how_to_select_one(
    home: Path, project: Path
) -> None:
    assert "no stack selected" in str(failure(Cli(home, project), "preview"))


def test_commands_that_have_nothing_to_do_say_so(cli: Cli) -> None:
    assert "has its own drivers" in cli("install")
    assert "has its own drivers" in cli("plugin", "install", "resource", "aws", "7.0.0")
    assert json.loads(cli("plugin", "ls", "--json")) == []
    assert cli("version") == f"v{cli.command.version}"
    assert json.loads(cli("about", "--json"))["backend"]["name"] == "sandbox"
    assert "--target" in cli("preview", "--help")
    assert "--remote" not in cli("preview", "--help")


def test_lines_are_handed_on_as_they_come(cli: Cli) -> None:
    output: list[str] = []
    errors: list[str] = []
    with pytest.raises(auto.CommandError):
        cli.command.run(["config", "get", "x"], str(cli.project), {}, output.append, errors.append)

    assert output == []
    assert errors == ["error: configuration key 'x' not found for stack 'dev'"]
