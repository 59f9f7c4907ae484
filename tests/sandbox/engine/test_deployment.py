"""Updates of a real program in a child process, on a cloud in memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from infra.sandbox.engine.provider import InitError, ProviderError
from infra.sandbox.engine.state import Operation, Resource, Snapshot
from infra.sandbox.engine.wire import Secret
from tests.sandbox.engine.fakes import World, lines

pytestmark = pytest.mark.sandbox


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


# -- the life of a resource ------------------------------------------------------------------------

CHAIN = lines(
    'a = thing("a", value="1")',
    'b = thing("b", value=a.arn)',
    'pulumi.export("x", b.value)',
)


def test_an_up_creates_what_the_program_declares_and_keeps_its_exports(world: World) -> None:
    run = world.up(CHAIN)

    assert run.result.error is None
    assert run.ops == [("proj-dev", "create"), ("a", "create"), ("b", "create")]
    assert run.counts == {"create": 3}
    assert world.cloud.things["b"] == {"value": "arn:a"}
    assert world.snapshot.stack_outputs == {"x": "arn:a"}


def test_a_preview_changes_neither_the_cloud_nor_the_state(world: World) -> None:
    run = world.preview(CHAIN)

    assert run.counts == {"create": 3}
    assert run.result.snapshot == Snapshot()
    assert world.cloud.things == {}
    assert run.recorder.begun == []


def test_an_unchanged_program_is_the_same(world: World) -> None:
    world.up(CHAIN)
    acts = list(world.cloud.log)

    run = world.up(CHAIN)

    assert run.counts == {"same": 3}
    assert world.cloud.log == acts


def test_a_changed_value_updates_in_place_and_says_which(world: World) -> None:
    world.up('thing("a", value="1", tags={"x": "1", "y": "1"})')

    run = world.up('thing("a", value="1", tags={"x": "2", "y": "1"})')

    assert run.op_of("a") == ["update"]
    metadata = next(
        e["resourcePreEvent"]["metadata"]
        for e in run.events
        if "resourcePreEvent" in e and e["resourcePreEvent"]["metadata"]["op"] == "update"
    )
    assert metadata["detailedDiff"] == {"tags.x": {"diffKind": "update", "inputDiff": True}}
    assert metadata["diffs"] == ["tags"]
    assert world.cloud.things["a"]["tags"] == {"x": "2", "y": "1"}


def test_a_resource_no_longer_declared_is_deleted_after_everything_else(world: World) -> None:
    world.up(CHAIN)

    run = world.up('thing("c")')

    assert run.ops == [
        ("proj-dev", "same"),
        ("c", "create"),
        ("b", "delete"),
        ("a", "delete"),
    ]
    assert set(world.cloud.things) == {"c"}


def test_a_destroy_deletes_dependents_first_and_leaves_an_empty_state(world: World) -> None:
    world.up(CHAIN)

    run = world.destroy()

    assert run.ops == [("b", "delete"), ("a", "delete"), ("proj-dev", "delete")]
    assert world.snapshot.resources == ()
    assert world.cloud.things == {}


def test_what_is_gone_from_the_cloud_already_can_be_destroyed(world: World) -> None:
    world.up(CHAIN)
    world.cloud.things.clear()

    assert world.destroy().result.error is None


# -- replacement -----------------------------------------------------------------------------------

SOURCE = lines(
    'src = thing("src", Opts({dbr}), name="{name}")',
    'dep = thing("dep", name="dep", value=src.name)',
    'dep2 = thing("dep2", name=src.name.apply(lambda n: n + "-2"))',
    'far = thing("far", Opts(depends_on=[src]), name="far")',
)


def source(name: str, dbr: str = "") -> str:
    return SOURCE.replace("{name}", name).replace("{dbr}", dbr)


def test_a_replacement_creates_the_new_before_it_deletes_the_old(world: World) -> None:
    world.up(source("a"))

    run = world.up(source("b"))

    assert run.op_of("src") == ["create-replacement", "replace", "delete-replaced"]
    assert run.op_of("dep2") == ["create-replacement", "replace", "delete-replaced"]
    assert run.op_of("dep") == ["update"]
    assert run.op_of("far") == ["same"]
    assert run.ops[-2:] == [("dep2", "delete-replaced"), ("src", "delete-replaced")]
    assert run.counts == {"replace": 2, "same": 2, "update": 1}
    assert set(world.cloud.things) == {"b", "b-2", "dep", "far"}


def test_delete_before_replace_deletes_first_what_would_be_replaced_with_it(world: World) -> None:
    world.up(source("a"))
    dbr = "delete_before_replace=True"
    assert world.up(source("a", dbr)).counts == {"same": 5}

    run = world.up(source("b", dbr))

    assert run.ops[1:5] == [
        ("dep2", "delete-replaced"),
        ("src", "delete-replaced"),
        ("src", "replace"),
        ("src", "create-replacement"),
    ]
    assert run.op_of("dep2") == ["delete-replaced", "replace", "create-replacement"]
    assert run.op_of("dep") == ["update"]
    assert run.op_of("far") == ["same"]
    assert run.counts == {"replace": 2, "same": 2, "update": 1}
    assert set(world.cloud.things) == {"b", "b-2", "dep", "far"}
    assert len(world.snapshot.resources) == len(world.snapshot.by_urn())


def test_a_replacement_that_failed_after_its_delete_is_completed_by_the_next_up(
    world: World,
) -> None:
    world.up('thing("a", name="x")')
    world.cloud.failing["create y"] = ProviderError("no capacity")
    failed = world.up('thing("a", Opts(delete_before_replace=True), name="y")')
    assert failed.result.error == "no capacity"
    assert failed.state["a"].pending_replacement
    world.cloud.failing.clear()

    run = world.up('thing("a", Opts(delete_before_replace=True), name="y")')

    assert run.op_of("a") == ["replace", "create-replacement"]
    assert run.result.error is None
    assert set(world.cloud.things) == {"y"}
    assert not world.snapshot.resources[-1].pending_replacement


def test_what_waits_for_its_replacement_but_is_no_longer_declared_is_forgotten(
    world: World,
) -> None:
    world.up('thing("a", name="x")')
    world.cloud.failing["create y"] = ProviderError("no capacity")
    world.up('thing("a", Opts(delete_before_replace=True), name="y")')

    run = world.up("")

    assert run.op_of("a") == ["remove-pending-replace"]
    assert "a" not in run.state


def test_an_old_half_whose_delete_failed_is_deleted_by_the_next_up(world: World) -> None:
    world.up('thing("a", name="x")')
    world.cloud.failing["delete x"] = ProviderError("still in use")
    assert world.up('thing("a", name="y")').result.error == "still in use"
    assert [r.id for r in world.snapshot.resources if r.delete] == ["x"]
    world.cloud.failing.clear()

    run = world.up('thing("a", name="y")')

    assert run.op_of("a") == ["same", "delete-replaced"]
    assert set(world.cloud.things) == {"y"}


def test_replace_on_changes_turns_an_update_into_a_replacement(world: World) -> None:
    world.up('thing("a", Opts(delete_before_replace=True), value="1")')

    run = world.up(
        'thing("a", Opts(replace_on_changes=["value"], delete_before_replace=True), value="2")'
    )

    assert run.counts == {"replace": 1, "same": 1}


def test_the_command_line_can_ask_for_a_replacement(world: World) -> None:
    program = 'thing("a", Opts(delete_before_replace=True), value="1")'
    world.up(program)

    run = world.up(program, replace=(world.urn("a"),))

    assert run.op_of("a") == ["delete-replaced", "replace", "create-replacement"]


def test_a_tainted_resource_is_replaced(world: World) -> None:
    program = 'thing("a", Opts(delete_before_replace=True), value="1")'
    world.up(program)
    world.snapshot = Snapshot(
        tuple(r.changed(taint=r.name == "a") for r in world.snapshot.resources)
    )

    run = world.up(program)

    assert run.counts == {"replace": 1, "same": 1}
    assert not run.state["a"].taint


def test_what_is_replaced_with_another_follows_it(world: World) -> None:
    program = lines(
        'a = thing("a", name="{}")',
        'b = thing("b", Opts(replace_with=[a], delete_before_replace=True), value="1")',
    )
    world.up(program.replace("{}", "x"))

    run = world.up(program.replace("{}", "y"))

    assert run.counts == {"replace": 2, "same": 1}


# -- ignoreChanges ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("paths", "kept"),
    [
        (["tags.a"], {"tags": {"a": "1", "b": "2"}, "nest": {"deepKey": "2"}}),
        (['tags["a"]'], {"tags": {"a": "1", "b": "2"}, "nest": {"deepKey": "2"}}),
        (["nest.deepKey"], {"tags": {"a": "2", "b": "2"}, "nest": {"deepKey": "1"}}),
        (["nest.deep_key"], {"tags": {"a": "2", "b": "2"}, "nest": {"deepKey": "2"}}),
        (["tags"], {"tags": {"a": "1", "b": "1"}, "nest": {"deepKey": "2"}}),
        (["nosuch", "tags.zz"], {"tags": {"a": "2", "b": "2"}, "nest": {"deepKey": "2"}}),
        (["*"], {"tags": {"a": "1", "b": "1"}, "nest": {"deepKey": "1"}}),
    ],
)
def test_ignored_paths_keep_what_they_were(
    world: World, paths: list[str], kept: dict[str, Any]
) -> None:
    values = 'tags={"a": V, "b": V}, nest={"deepKey": V}'
    program = f'thing("a", Opts(ignore_changes={paths!r}), {values})'
    world.up('V = "1"\n' + program)

    world.up('V = "2"\n' + program)

    assert world.cloud.things["a"] == kept


def test_an_ignored_path_into_something_that_was_added_is_told(world: World) -> None:
    world.up('thing("a", value="1")')

    run = world.up(
        'thing("a", Opts(ignore_changes=["tags.deep.er"]), value="1", tags={"deep": {}})'
    )

    assert any("cannot ignore changes" in message for message in run.told("info"))


# -- secrets ---------------------------------------------------------------------------------------


def test_an_output_is_secret_where_its_input_is_and_the_provider_sees_plain_values(
    world: World,
) -> None:
    run = world.up(
        lines(
            'a = thing("a", value=Output.secret("hush"), tags={"s": Output.secret("t"), "p": "q"})',
            'pulumi.export("v", a.value)',
        )
    )

    outputs = run.state["a"].outputs
    assert outputs["value"] == Secret("hush")
    assert outputs["tags"] == {"s": Secret("t"), "p": "q"}
    assert world.cloud.things["a"]["value"] == "hush"
    assert world.snapshot.stack_outputs["v"] == Secret("hush")
    assert "hush" not in repr(run.events)


def test_outputs_are_secret_where_the_program_or_the_provider_says_so(world: World) -> None:
    world.cloud.secret = frozenset({"serial"})

    run = world.up('thing("a", Opts(additional_secret_outputs=["arn"]), value="v")')

    outputs = run.state["a"].outputs
    assert outputs == {"value": "v", "serial": Secret(1), "arn": Secret("arn:a")}


def test_a_components_additional_secret_outputs_do_nothing(world: World) -> None:
    run = world.up(
        lines(
            'c = pulumi.ComponentResource("a:b:C", "c", {}, Opts(additional_secret_outputs=["t"]))',
            'c.register_outputs({"t": "plain", "s": Output.secret("x")})',
        )
    )

    assert run.state["c"].outputs == {"t": "plain", "s": Secret("x")}


def test_secret_configuration_reaches_the_program_but_no_event(world: World) -> None:
    world.config = {"proj:pw": "hush", "proj:open": "seen"}
    world.secret_keys = frozenset({"proj:pw"})

    run = world.up('pulumi.export("v", pulumi.Config().require_secret("pw"))')

    assert world.snapshot.stack_outputs == {"v": Secret("hush")}
    assert run.events[0] == {
        "preludeEvent": {"config": {"proj:pw": "[secret]", "proj:open": "seen"}}
    }
    assert "hush" not in repr(run.events)


# -- protection ------------------------------------------------------------------------------------

PROTECTED = lines(
    'par = thing("par", Opts(protect={protect}), name="{name}")',
    'oth = thing("oth", value=par.arn)',
)


def protected(name: str = "x", protect: str = "True") -> str:
    return PROTECTED.replace("{name}", name).replace("{protect}", protect)


def test_a_protected_resource_is_not_deleted_and_the_message_says_how_to_unprotect_it(
    world: World,
) -> None:
    world.up(protected())
    urn = world.urn("par")

    run = world.destroy()

    assert run.result.error == (
        f'resource "{urn}" cannot be deleted\n'
        "because it is protected. To unprotect the resource, either remove the `protect` flag "
        "from the resource in your Pulumi program and run `pulumi up`, or use the command:\n"
        f"`pulumi state unprotect '{urn}'`"
    )
    assert run.told("error")[-1] == "update failed"
    assert run.ops == [("oth", "delete"), ("par", "delete")]
    assert set(run.state) == {"par", "proj-dev", "default"}
    assert set(world.cloud.things) == {"x"}


def test_a_preview_of_a_destroy_tells_of_protection_too(world: World) -> None:
    world.up(protected())

    run = world.destroy(dry_run=True)

    assert run.told("error")[0].startswith('Preview failed: resource "urn:pulumi:dev::proj::')
    assert run.told("error")[-1] == "preview failed"
    assert run.counts == {"delete": 1}


def test_a_protected_resource_is_not_replaced(world: World) -> None:
    world.up(protected())

    run = world.up(protected("y"))

    assert run.result.error is not None
    assert run.result.error.startswith(f'unable to replace resource "{world.urn("par")}"\n')
    assert set(world.cloud.things) == {"x", "oth"}


def test_a_preview_shows_the_replacement_that_protection_refuses(world: World) -> None:
    world.up(protected())

    run = world.preview(protected("y"))

    assert run.op_of("par") == ["create-replacement", "replace", "delete-replaced"]
    assert run.result.error is not None
    assert run.told("error")[-1] == "preview failed"


def test_unprotecting_and_replacing_go_together(world: World) -> None:
    world.up(protected())

    assert world.up(protected("y", "False")).result.error is None
    assert set(world.cloud.things) == {"y", "oth"}


def test_a_destroy_may_leave_out_what_is_protected_and_what_that_needs(world: World) -> None:
    world.up(protected())

    run = world.destroy(exclude_protected=True)

    assert run.result.error is None
    assert run.op_of("oth") == ["delete"]
    assert set(world.cloud.things) == {"x"}
    again = world.destroy(exclude_protected=True)
    assert again.result.error is None
    assert again.ops == []


def test_what_is_to_be_retained_leaves_the_state_but_not_the_cloud(world: World) -> None:
    world.up('thing("a", Opts(retain_on_delete=True))')

    run = world.destroy()

    assert run.op_of("a") == ["delete"]
    assert set(world.cloud.things) == {"a"}
    assert world.snapshot.resources == ()


def test_what_is_deleted_with_another_is_not_deleted_itself(world: World) -> None:
    world.up(lines('a = thing("a")', 'b = thing("b", Opts(deleted_with=a))'))

    run = world.destroy()

    assert run.op_of("b") == ["delete"]
    assert "delete b" not in world.cloud.log
    assert "delete a" in world.cloud.log


# -- aliases ---------------------------------------------------------------------------------------


def test_a_renamed_resource_and_its_children_are_the_same(world: World) -> None:
    program = lines('x = thing("{}", Opts({}), name="x")', 'thing("kid", Opts(parent=x))')
    world.up(program.format("old", ""))

    run = world.up(program.format("new", 'aliases=[pulumi.Alias(name="old")]'))

    assert run.counts == {"same": 3}
    assert run.state["kid"].parent == run.state["new"].urn
    assert "old" not in run.state
    assert world.up(program.format("new", "")).counts == {"same": 3}


def test_a_resource_can_move_into_a_component(world: World) -> None:
    world.up(lines('x = thing("x")', 'thing("kid", Opts(parent=x))'))

    run = world.up(
        lines(
            'c = pulumi.ComponentResource("a:b:C", "c")',
            "root = pulumi.ROOT_STACK_RESOURCE",
            'x = thing("x", Opts(parent=c, aliases=[pulumi.Alias(parent=root)]))',
            'thing("kid", Opts(parent=x))',
        )
    )

    assert run.counts == {"create": 1, "same": 3}
    assert run.state["kid"].urn.startswith("urn:pulumi:dev::proj::a:b:C$fake:index:Thing$")


def test_a_whole_urn_serves_as_an_alias(world: World) -> None:
    world.up('thing("x", name="n")')
    urn = world.urn("x")

    run = world.up(f'thing("y", Opts(aliases=["{urn}"]), name="n")')

    assert run.counts == {"same": 2}


def test_two_resources_cannot_have_the_same_urn(world: World) -> None:
    run = world.up(lines('thing("a")', 'thing("a")'))

    assert run.result.error is not None
    assert run.result.error.startswith("Duplicate resource URN 'urn:pulumi:dev::proj::")
    assert run.result.error.endswith("try giving it a unique name")


# -- import and read -------------------------------------------------------------------------------


def test_an_import_takes_a_thing_into_the_state_without_touching_it(world: World) -> None:
    world.cloud.things["found"] = {"value": "v", "name": "found"}

    run = world.up('thing("a", Opts(import_="found", protect=True), value="v", name="found")')

    assert run.counts == {"create": 1, "import": 1}
    assert run.state["a"].id == "found"
    assert run.state["a"].import_id == "found"
    assert world.cloud.log == ["read found"]
    again = world.up('thing("a", Opts(import_="found", protect=True), value="v", name="found")')
    assert again.counts == {"same": 2}


def test_an_import_whose_inputs_differ_is_told_and_updated(world: World) -> None:
    world.cloud.things["found"] = {"value": "theirs", "name": "found"}
    program = 'thing("a", Opts(import_="found"), value="ours", name="found")'

    assert world.preview(program).op_of("a") == ["import", "update"]
    run = world.up(program)

    assert run.counts == {"create": 1, "import": 1, "update": 1}
    assert world.cloud.things["found"]["value"] == "ours"


def test_an_import_over_another_thing_replaces_it_even_when_protected(world: World) -> None:
    world.cloud.things["second"] = {"name": "second"}
    world.up('thing("a", Opts(protect=True), name="first")')

    run = world.up('thing("a", Opts(import_="second", protect=True), name="second")')

    assert run.op_of("a") == ["import-replacement", "replace", "delete-replaced"]
    assert run.counts == {"replace": 1, "same": 1}
    assert set(world.cloud.things) == {"second"}


def test_an_import_of_nothing_fails_and_changes_nothing(world: World) -> None:
    run = world.up('thing("a", Opts(import_="nosuch"))')

    assert run.result.error == "resource 'nosuch' does not exist"
    assert "a" not in run.state


def test_an_imported_resource_that_would_be_replaced_is_refused(world: World) -> None:
    world.cloud.things["found"] = {"name": "found"}

    run = world.up('thing("a", Opts(import_="found"), name="other")')

    assert run.result.error is not None
    assert run.result.error.startswith("previously-imported resources that still specify an ID")
    assert set(world.cloud.things) == {"found"}


def test_a_read_resource_is_in_the_state_but_never_deleted(world: World) -> None:
    world.cloud.things["got"] = {"value": "v"}
    program = lines('g = thing("g", get="got")', 'pulumi.export("v", g.value)')

    run = world.up(program)

    assert run.op_of("g") == ["read"]
    assert run.counts == {"create": 1}
    assert run.state["g"].external
    assert world.snapshot.stack_outputs == {"v": "v"}
    gone = world.destroy()
    assert gone.op_of("g") == ["discard"]
    assert gone.counts == {"delete": 1, "discard": 1}
    assert set(world.cloud.things) == {"got"}


def test_a_read_of_nothing_fails(world: World) -> None:
    run = world.up('thing("g", get="nosuch")')

    assert run.result.error == "resource 'nosuch' does not exist"


def test_a_stack_reference_gives_another_stacks_outputs(world: World) -> None:
    world.stacks["organization/proj/prod"] = {"open": "o", "mix": {"s": Secret("m"), "t": "u"}}
    program = lines(
        'ref = pulumi.StackReference("organization/proj/prod")',
        'pulumi.export("open", ref.require_output("open"))',
        'pulumi.export("mix", ref.get_output("mix"))',
    )

    run = world.up(program)

    assert run.counts == {"create": 1}
    assert world.snapshot.stack_outputs == {"open": "o", "mix": Secret({"s": "m", "t": "u"})}


def test_a_reference_to_a_missing_stack_fails(world: World) -> None:
    run = world.up('pulumi.StackReference("organization/proj/nosuch")')

    assert run.result.error == 'unknown stack "organization/proj/nosuch"'


# -- targets ---------------------------------------------------------------------------------------

TARGETS = lines(
    'a = thing("a", value=V)',
    'b = thing("b", Opts(depends_on=[a]), value=V)',
    'c = pulumi.ComponentResource("t:t:C", "c", {}, Opts(depends_on=[b]))',
    'k1 = thing("k1", Opts(parent=c), value=V)',
    'k2 = thing("k2", Opts(parent=k1), value=k1.value)',
)


def test_only_targets_are_updated(world: World) -> None:
    world.up('V = "1"\n' + TARGETS)

    run = world.up('V = "2"\n' + TARGETS, targets=(world.urn("a"),))

    assert run.counts == {"same": 5, "update": 1}
    assert [name for name, op in run.ops if op == "update"] == ["a"]


def test_targets_may_bring_their_dependents(world: World) -> None:
    world.up('V = "1"\n' + TARGETS)

    run = world.up('V = "2"\n' + TARGETS, targets=(world.urn("k1"),), target_dependents=True)

    assert [name for name, op in run.ops if op == "update"] == ["k1", "k2"]


def test_what_is_not_targeted_is_not_created(world: World) -> None:
    world.up('V = "1"\n' + TARGETS)

    run = world.up(
        'V = "2"\n' + TARGETS + 'thing("new", value=a.value)\n', targets=(world.urn("b"),)
    )

    assert run.counts == {"same": 6, "update": 1}
    assert "new" not in run.state
    assert "new" not in world.cloud.things


def test_a_target_that_needs_what_is_not_created_is_refused(world: World) -> None:
    urn = "urn:pulumi:dev::proj::fake:index:Thing::b"

    run = world.up(lines('a = thing("a")', 'b = thing("b", value=a.arn)'), targets=(urn,))

    assert run.result.error is not None
    assert "which was was not specified in --target list." in run.result.error
    assert world.cloud.things == {}


def test_a_target_nobody_knows_is_an_error(world: World) -> None:
    world.up('V = "1"\n' + TARGETS)
    urn = "urn:pulumi:dev::proj::fake:index:Thing::nosuch"

    run = world.up('V = "2"\n' + TARGETS, targets=(urn,))

    assert run.result.error == (
        f"Target '{urn}' could not be found in the stack. Did you forget to escape $ in your shell?"
    )


def test_destroying_a_target_that_others_need_is_refused(world: World) -> None:
    world.up('V = "1"\n' + TARGETS)

    run = world.destroy(targets=(world.urn("a"),))

    refused = [message for message in run.told("error") if "will be destroyed" in message]
    assert len(refused) == 4
    assert run.told("error")[-1] == "update failed"
    assert set(world.cloud.things) == {"a", "b", "k1", "k2"}


def test_destroying_a_target_with_its_dependents(world: World) -> None:
    world.up('V = "1"\n' + TARGETS)

    run = world.destroy(targets=(world.urn("k1"),), target_dependents=True)

    assert run.ops[-2:] == [("k2", "delete"), ("k1", "delete")]
    assert run.counts == {"delete": 2, "same": 4}
    assert set(world.cloud.things) == {"a", "b"}


def test_what_is_excluded_is_left_alone(world: World) -> None:
    world.up('V = "1"\n' + TARGETS)

    run = world.up('V = "2"\n' + TARGETS, excludes=(world.urn("a"),))
    assert "a" not in [name for name, op in run.ops if op == "update"]
    gone = world.destroy(excludes=(world.urn("a"),))

    assert gone.result.error is None
    assert set(world.cloud.things) == {"a"}


# -- refresh ---------------------------------------------------------------------------------------

DRIFT = lines(
    'p = thing("p", value="1")', 'g = thing("g", value="1")', 'd = thing("d", value=g.value)'
)


def drift(world: World) -> None:
    world.up(DRIFT)
    world.cloud.things["p"]["value"] = "changed"
    del world.cloud.things["g"]


def test_without_a_refresh_drift_goes_unnoticed(world: World) -> None:
    drift(world)

    assert world.preview(DRIFT).counts == {"same": 4}


def test_a_refresh_takes_drift_into_the_state_property_by_property(world: World) -> None:
    drift(world)

    run = world.refresh()

    assert run.counts == {"delete": 1, "same": 2, "update": 1}
    assert {op for _, op in run.ops} == {"refresh"}
    changed = next(
        e["resOutputsEvent"]["metadata"]
        for e in run.events
        if "resOutputsEvent" in e and e["resOutputsEvent"]["metadata"]["op"] == "update"
    )
    assert list(changed["detailedDiff"]) == ["value"]
    assert "g" not in run.state
    assert run.state["p"].inputs["value"] == "changed"
    assert run.state["d"].dependencies == ()
    assert run.state["d"].property_dependencies == {}
    assert world.preview(DRIFT).counts == {"create": 1, "same": 2, "update": 1}


def test_a_preview_of_a_refresh_changes_nothing(world: World) -> None:
    drift(world)
    before = world.snapshot

    run = world.refresh(dry_run=True)

    assert run.counts == {"delete": 1, "same": 2, "update": 1}
    assert run.result.snapshot == before


def test_an_up_may_refresh_first(world: World) -> None:
    drift(world)

    preview = world.preview(DRIFT, refresh=True)
    run = world.up(DRIFT, refresh=True)

    assert preview.counts == run.counts == {"create": 1, "same": 2, "update": 1}
    assert world.cloud.things["p"]["value"] == "1"
    assert "g" in world.cloud.things


def test_an_unexpected_change_is_an_error(world: World) -> None:
    drift(world)

    assert world.refresh(expect_no_changes=True).result.error == (
        "no changes were expected for refresh but changes were proposed"
    )
    assert world.preview(DRIFT, expect_no_changes=True).result.error == (
        "no changes were expected for preview but changes were proposed"
    )


def test_ignored_drift_counts_as_the_same_but_is_read_into_the_state(world: World) -> None:
    world.up('thing("a", Opts(ignore_changes=["value"]), value="ours", tags={"t": "1"})')
    world.cloud.things["a"]["value"] = "operator"

    run = world.refresh()

    assert run.counts == {"same": 2}
    assert run.state["a"].inputs["value"] == "operator"
    world.up('thing("a", Opts(ignore_changes=["value"]), value="ours", tags={"t": "2"})')
    assert world.cloud.things["a"] == {"value": "operator", "tags": {"t": "2"}}


def test_a_refresh_may_be_limited_to_targets(world: World) -> None:
    drift(world)

    run = world.refresh(targets=(world.urn("p"),))

    assert run.ops == [("p", "refresh")]
    assert "g" in run.state


def test_a_refresh_with_the_program_creates_nothing(world: World) -> None:
    world.up('thing("a", value="1")')
    world.cloud.things["a"]["value"] = "changed"

    run = world.update(lines('thing("a", value="1")', 'thing("new")'), "refresh", run_program=True)

    assert run.result.error is None
    assert run.state["a"].inputs["value"] == "changed"
    assert "new" not in world.cloud.things


def test_a_destroy_with_the_program_deletes_everything(world: World) -> None:
    program = lines('c = pulumi.ComponentResource("t:t:C", "c")', 'thing("a", Opts(parent=c))')
    world.up(program)

    run = world.update(program, "destroy", run_program=True)

    assert run.result.error is None
    assert world.snapshot.resources == ()
    assert world.cloud.things == {}


# -- failures --------------------------------------------------------------------------------------

FAILING = lines(
    'a = thing("a")',
    'bad = thing("bad", Opts(depends_on=[a]))',
    'after = thing("after", value=bad.arn)',
    'ind = thing("ind", Opts(depends_on=[a]))',
    'pulumi.export("arn", bad.arn)',
)


def test_once_a_step_has_failed_no_other_is_begun(world: World) -> None:
    world.cloud.failing["create bad"] = ProviderError("quota exceeded")
    program = lines(
        'thing("bad")',
        'link = thing("link-0")',
        "for n in range(1, 10):",
        '    link = thing(f"link-{n}", Opts(depends_on=[link]))',
    )

    run = world.up(program)

    assert run.told("error") == ["quota exceeded", "update failed"]
    assert "link-9" not in run.state


def test_what_needs_a_failed_resource_is_not_attempted_and_the_rest_may_go_on(
    world: World,
) -> None:
    world.cloud.failing["create bad"] = ProviderError("quota exceeded")

    run = world.up(FAILING, continue_on_error=True)

    assert run.result.error == "quota exceeded"
    assert run.told("error") == ["quota exceeded", "update failed"]
    assert [e["resOpFailedEvent"]["metadata"]["op"] for e in run.events if "resOpFailedEvent" in e]
    assert set(run.state) == {"proj-dev", "default", "a", "ind"}
    assert world.snapshot.stack_outputs == {}
    assert world.snapshot.pending_operations == ()
    world.cloud.failing.clear()
    assert world.up(FAILING).counts == {"create": 2, "same": 3}


def test_a_failed_update_deletes_nothing(world: World) -> None:
    world.up('thing("gone")')
    world.cloud.failing["create bad"] = ProviderError("quota exceeded")

    world.up(FAILING)

    assert "gone" in world.cloud.things


def test_a_failed_update_may_go_on_to_delete(world: World) -> None:
    world.up('thing("gone")')
    world.cloud.failing["create bad"] = ProviderError("quota exceeded")

    run = world.up(FAILING, continue_on_error=True)

    assert run.result.error == "quota exceeded"
    assert "gone" not in world.cloud.things


def test_inputs_that_a_check_refuses_are_told(world: World) -> None:
    run = world.preview('thing("a", size="wrong")')

    assert run.result.error == (
        "fake:index:Thing resource 'a': property size value {\"wrong\"} has a problem: "
        "expected a number"
    )


def test_a_type_the_sandbox_lacks_is_an_error(world: World) -> None:
    run = world.preview('pulumi.CustomResource("fake:index:Other", "a", {})')

    assert run.result.error == "the sandbox has no fake:index:Other"


def test_a_resource_created_but_not_as_asked_is_kept_and_tried_again(world: World) -> None:
    world.cloud.failing["create a"] = InitError("never became ready", "a", {"value": "v"})

    run = world.up('thing("a", value="v")')

    assert run.result.error == "never became ready"
    assert run.state["a"].init_errors == ("never became ready",)
    world.cloud.failing.clear()
    again = world.up('thing("a", value="v")')
    assert again.op_of("a") == ["update"]
    assert again.state["a"].init_errors == ()


def test_what_a_half_made_resource_lacks_is_applied_by_the_next_up(world: World) -> None:
    text = 'thing("a", value=pulumi.Output.secret("hush"), size=2)'
    world.cloud.failing["create a"] = InitError("size was refused", "a", {"value": "hush"})
    world.up(text)
    world.cloud.failing.clear()
    del world.cloud.things["a"]["size"]

    planned = world.preview(text)
    again = world.up(text)

    assert planned.op_of("a") == again.op_of("a") == ["update"]
    assert world.cloud.things["a"] == {"value": "hush", "size": 2}
    assert again.state["a"].inputs == {"value": Secret("hush"), "size": 2}
    assert again.state["a"].init_errors == ()
    assert world.up(text).counts == {"same": 2}


def test_a_half_made_resource_that_is_gone_is_created_anew(world: World) -> None:
    world.cloud.failing["create a"] = InitError("never became ready", "a", {"value": "v"})
    world.up('thing("a", value="v")')
    world.cloud.failing.clear()
    world.cloud.things.clear()

    again = world.up('thing("a", value="v")')

    assert again.op_of("a") == ["create"]
    assert world.cloud.things == {"a": {"value": "v"}}


@pytest.mark.parametrize(
    "error",
    [
        ProviderError('a value of "hu\\nsh" is refused'),
        InitError('a value of "hu\\nsh" is refused', "a", {}),
    ],
)
def test_no_error_shows_a_secret_of_the_resource(world: World, error: ProviderError) -> None:
    world.cloud.failing["create a"] = error

    run = world.up('thing("a", value=pulumi.Output.secret("hu\\nsh"))')

    assert run.result.error == 'a value of "[secret]" is refused'
    told = {text for resource in world.snapshot.resources for text in resource.init_errors}
    assert told <= {run.result.error}


def test_a_failure_whose_effect_is_unclear_stays_pending(world: World) -> None:
    world.cloud.failing["create a"] = ProviderError("the connection broke", maybe_done=True)

    run = world.up('thing("a")')

    assert [(op.type, op.resource.name) for op in world.snapshot.pending_operations] == [
        ("creating", "a")
    ]
    assert run.events[-2]["summaryEvent"]["maybeCorrupt"]


# -- interrupted updates ---------------------------------------------------------------------------


def pending(world: World, type_: Any, inputs: dict[str, Any]) -> None:
    world.up("")
    default = "urn:pulumi:dev::proj::pulumi:providers:fake::default"
    provider = Resource(urn=default, type="pulumi:providers:fake", custom=True, id="p")
    interrupted = Resource(
        urn="urn:pulumi:dev::proj::fake:index:Thing::a",
        type="fake:index:Thing",
        custom=True,
        inputs=inputs,
        parent=world.urn("proj-dev"),
        provider=f"{default}::p",
    )
    world.snapshot = Snapshot(
        (*world.snapshot.resources, provider), (Operation(interrupted, type_),)
    )


def test_what_an_interrupted_create_made_is_taken_into_the_state(world: World) -> None:
    pending(world, "creating", {"value": "1"})
    world.cloud.things["a"] = {"value": "1"}

    run = world.up('thing("a", value="1")')

    assert "interrupted while creating" in run.told("warning")[0]
    assert run.op_of("a") == ["same"]
    assert run.state["a"].id == "a"
    assert "create a" not in world.cloud.log
    assert world.snapshot.pending_operations == ()


def test_what_an_interrupted_create_made_is_replaced_where_the_program_has_moved_on(
    world: World,
) -> None:
    pending(world, "creating", {"name": "n"})
    world.cloud.things["n"] = {"name": "n"}

    run = world.up('thing("a", name="m")')

    assert run.result.error is None
    assert run.state["a"].id == "m"
    assert world.cloud.things.keys() == {"m"}


def test_a_create_that_was_found_interrupted_too_late_leaves_no_second_thing(
    world: World,
) -> None:
    world.up('thing("a", name="n")')
    entry = world.snapshot.by_urn()[world.urn("a")]
    lost = entry.changed(id="")
    world.snapshot = Snapshot(
        tuple(r.changed(id="other") if r is entry else r for r in world.snapshot.resources),
        (Operation(lost, "creating"),),
    )
    world.cloud.things["other"] = {"name": "n"}

    run = world.up('thing("a", name="n")')

    assert run.state["a"].id == "other"
    assert world.cloud.things.keys() == {"other"}, "the one too many is gone"
    assert world.snapshot.pending_operations == ()


def test_an_interrupted_create_that_made_nothing_is_forgotten(world: World) -> None:
    pending(world, "creating", {"value": "1"})

    run = world.refresh()

    assert run.result.error is None
    assert world.snapshot.pending_operations == ()
    assert "a" not in run.state


def test_an_interrupted_create_that_cannot_be_looked_up_stays_pending(world: World) -> None:
    pending(world, "creating", {"value": "1"})
    world.cloud.failing["find a"] = ProviderError("access denied")

    run = world.refresh()

    assert "cannot be told: access denied" in run.told("warning")[1]
    assert [op.type for op in world.snapshot.pending_operations] == ["creating"]
    cleared = world.refresh(clear_pending_creates=True)
    assert cleared.result.snapshot.pending_operations == ()


def test_an_interrupted_update_is_read_anew(world: World) -> None:
    world.up('thing("a", value="1")')
    entry = world.snapshot.by_urn()[world.urn("a")]
    world.snapshot = Snapshot(world.snapshot.resources, (Operation(entry, "updating"),))
    world.cloud.things["a"]["value"] = "half"

    run = world.up('thing("a", value="1")')

    assert run.op_of("a") == ["update"]
    assert world.cloud.things["a"]["value"] == "1"
    assert world.snapshot.pending_operations == ()


# -- providers -------------------------------------------------------------------------------------


def test_an_explicit_provider_serves_its_resources(world: World) -> None:
    program = lines('p = Fake("p", {"region": "%s"})', 'a = thing("a", Opts(provider=p))')
    run = world.up(program % "east")
    assert run.counts == {"create": 3}
    assert run.state["a"].provider == f"{run.state['p'].urn}::{run.state['p'].id}"

    changed = world.up(program % "west")

    assert changed.counts == {"same": 2, "update": 1}
    assert changed.op_of("p") == ["update"]


def test_a_default_provider_takes_its_configuration_and_does_not_count(world: World) -> None:
    world.config = {"fake:region": "south"}

    run = world.up('thing("a")')

    assert run.counts == {"create": 2}
    assert run.state["default"].inputs == {"region": "south"}


def test_default_providers_can_be_forbidden(world: World) -> None:
    world.config = {"pulumi:disable-default-providers": '["fake"]'}

    run = world.up('thing("a")')

    assert run.result.error == (
        "Default provider for 'fake' disabled. 'fake:index:Thing' must use an explicit provider."
    )


def test_a_components_providers_reach_its_children(world: World) -> None:
    run = world.up(
        lines(
            'p = Fake("p")',
            'c = pulumi.ComponentResource("t:t:C", "c", {}, Opts(providers=[p]))',
            'thing("a", Opts(parent=c))',
        )
    )

    assert run.state["a"].provider.startswith(run.state["p"].urn)
    assert "default" not in run.state
