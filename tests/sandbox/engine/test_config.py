import json
from pathlib import Path
from typing import Any

import pytest

from infra.sandbox.engine.config import (
    Ciphertext,
    ConfigError,
    Edit,
    add_edit,
    apply_edit,
    check_project_config,
    effective_config,
    get_path,
    is_secret,
    masked,
    parse_key,
    read_config,
    text_of,
    typed_value,
    with_project_config,
)
from infra.sandbox.engine.stackfile import effective_text

CASE = Path(__file__).parents[2] / "conformance" / "cases" / "16-config" / "expected.json"


def read(text: str) -> dict[str, Any]:
    return read_config(text, "shop", "Pulumi.dev.yaml")


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("3", 3),
        ("07", 7),
        ("010", 8),
        ("08", 8),
        ("0x1f", 31),
        ("1_000", 1000),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        ("true", True),
        ("yes", "yes"),
        ("on", "on"),
        ("~", None),
        ("", None),
        ('"007"', "007"),
        ("1.2.3", "1.2.3"),
        ("2026-11-23", "2026-11-23 00:00:00 +0000 UTC"),
        ("{secure: v1:a:b}", Ciphertext("v1:a:b")),
        ("{secure: x, more: y}", {"secure": "x", "more": "y"}),
        ("[a, {b: {secure: x}}]", ["a", {"b": Ciphertext("x")}]),
    ],
)
def test_scalars_are_read_as_pulumis_yaml_reads_them(written: str, value: object) -> None:
    assert read(f"config:\n  shop:k: {written}\n") == {"shop:k": value}


def test_keys_are_qualified_by_the_project_unless_they_have_a_namespace() -> None:
    assert list(read("config:\n  a: 1\n  aws:region: x\n  aws:config:profile: p\n")) == [
        "shop:a",
        "aws:region",
        "aws:profile",
    ]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a", "a"),
        (True, "true"),
        (3, "3"),
        (2.0, "2"),
        (1.5, "1.5"),
        (None, "null"),
        ({"b": [1, 2.0], "a": "<&>"}, '{"a":"\\u003c\\u0026\\u003e","b":[1,2]}'),
        ({"s": Ciphertext("x"), "o": 1}, '{"o":1,"s":"[secret]"}'),
        (Ciphertext("x"), "[secret]"),
    ],
)
def test_a_program_gets_strings_and_json_in_one_line(value: object, text: str) -> None:
    assert text_of(value, masked) == text


@pytest.mark.parametrize(
    ("text", "key", "path"),
    [
        ("a", "shop:a", ()),
        ("a.b[0]", "shop:a", ("b", 0)),
        ("aws:a.b", "aws:a", ("b",)),
        ('a["x.y"].z', "shop:a", ("x.y", "z")),
        ("a[1][2]", "shop:a", (1, 2)),
        ('["a.b"].c', "shop:a.b", ("c",)),
    ],
)
def test_paths_are_read(text: str, key: str, path: tuple[str | int, ...]) -> None:
    assert parse_key(text, "shop", path=True) == (key, path)


def test_without_path_a_key_is_taken_literally() -> None:
    assert parse_key("a.b[0]", "shop") == ("shop:a.b[0]", ())


@pytest.mark.parametrize("text", ["a.", "a..b", "a[", "a[x]", 'a["x]', "a:b:c:d", "[0].a"])
def test_a_wrong_key_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="invalid config"):
        parse_key(text, "shop", path=True)


def test_edits_apply_in_order_and_leave_the_file_alone() -> None:
    file = {"shop:a": {"x": 1}, "shop:b": "keep"}
    edits = [
        Edit("set", "shop:a", ("y", "z"), 2),
        Edit("rm", "shop:a", ("x",)),
        Edit("set", "shop:l", (0,), "first"),
        Edit("set", "shop:l", (1,), "second"),
        Edit("rm", "shop:nosuch", ("deep",)),
    ]

    assert effective_config(file, edits) == {
        "shop:a": {"y": {"z": 2}},
        "shop:b": "keep",
        "shop:l": ["first", "second"],
    }
    assert file == {"shop:a": {"x": 1}, "shop:b": "keep"}


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (Edit("set", "shop:a", ("l", "x"), 1), "a.l: key for an array must be an int"),
        (Edit("set", "shop:a", ("l", 5), 1), r"a\.l\[5\]: array index out of range"),
        (Edit("set", "shop:a", (0,), 1), "a: key for a map must be a string"),
        (Edit("set", "shop:a", ("s", "x"), 1), r"a\.s: expected a map"),
        (Edit("set", "shop:a", ("s", 0), 1), r"a\.s: expected an array"),
        (Edit("set", "shop:n", ("secure",), "x"), 'single key "secure" are reserved'),
        (Edit("rm", "shop:a", ("sec", "o")), 'single key "secure" are reserved'),
    ],
)
def test_an_edit_that_does_not_fit_says_where(edit: Edit, message: str) -> None:
    config = {"shop:a": {"l": [], "s": "text", "sec": {"secure": "plain", "o": 1}}}

    with pytest.raises(ConfigError, match=message):
        apply_edit(config, edit)


def test_a_scalar_makes_way_for_a_map_at_the_first_level_as_in_the_cli() -> None:
    assert apply_edit({"shop:a": "text"}, Edit("set", "shop:a", ("x",), 1)) == {"shop:a": {"x": 1}}


def test_setting_the_same_place_again_does_not_make_the_list_grow() -> None:
    edits: tuple[Edit, ...] = ()
    for value in ("1", "2", "3"):
        edits = add_edit(edits, Edit("set", "shop:a", (), value))
        edits = add_edit(edits, Edit("set", "shop:b", ("x",), value))

    assert [edit.value for edit in edits] == ["3", "3"]


def test_an_edit_is_kept_as_json_with_its_secret_encrypted() -> None:
    edit = Edit("set", "shop:a", ("x", 0), {"p": Ciphertext("v1:c")})

    kept = json.loads(json.dumps(edit.to_json()))

    assert kept["value"] == {"p": {"secure": "v1:c"}}
    assert Edit.from_json(kept) == edit


@pytest.mark.parametrize(
    ("text", "kind", "nested", "value"),
    [
        ("4", None, False, "4"),
        ("true", None, False, "true"),
        ("4", None, True, 4),
        ("-4", None, True, -4),
        ("007", None, True, "007"),
        ("true", None, True, True),
        ("1.5", None, True, "1.5"),
        ("12", "string", True, "12"),
        ("1.5", "float", True, 1.5),
        ("false", "bool", True, False),
    ],
)
def test_values_are_typed_as_the_cli_types_them(
    text: str, kind: str | None, nested: bool, value: object
) -> None:
    result = typed_value(text, kind, nested=nested)

    assert (type(result), result) == (type(value), value)


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [("x", "int", "'x' is no int"), ("1", "bool", "is no bool"), ("x", "list", "must be one of")],
)
def test_a_value_of_another_type_is_refused(text: str, kind: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        typed_value(text, kind, nested=True)


def test_a_value_is_found_by_its_path() -> None:
    config = {"shop:a": {"l": [{"x": None}]}}

    assert get_path(config, "shop:a", ("l", 0, "x")) == (True, None)
    assert get_path(config, "shop:a", ("l", 1)) == (False, None)
    assert get_path(config, "shop:b", ()) == (False, None)


def test_the_projects_values_and_defaults_stand_behind_the_stacks() -> None:
    declared = {
        "size": {"type": "integer", "default": 3},
        "colour": "blue",
        "aws:region": "us-east-1",
        "aws:tags": {"value": {"a": "b"}},
    }

    assert with_project_config({"shop:colour": "red"}, declared, "shop") == {
        "shop:colour": "red",
        "shop:size": "3",
        "aws:region": "us-east-1",
        "aws:tags": {"a": "b"},
    }


def test_missing_and_ill_typed_keys_are_told_by_name() -> None:
    declared = {"a": {"type": "string"}, "b": {"type": "integer"}, "c": {"type": "boolean"}}

    with pytest.raises(
        ConfigError, match="Stack 'dev' is missing configuration values 'a' and 'b'"
    ):
        check_project_config({"shop:c": "true"}, declared, "shop", "dev")
    with pytest.raises(ConfigError, match="'b' must be of type 'integer'"):
        check_project_config(
            {"shop:a": "x", "shop:b": "many", "shop:c": "true"}, declared, "shop", "dev"
        )


def test_a_secret_is_told_at_any_depth() -> None:
    assert is_secret([{"a": Ciphertext("x")}])
    assert not is_secret({"a": ["secure"]})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("config: [", "could not load the stack file Pulumi.dev.yaml"),
        ("- a\n", "it is no map"),
        ("config: 3\n", "'config' must be a map"),
    ],
)
def test_a_broken_stack_file_is_named(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read(text)


def test_without_edits_the_text_is_the_files_own() -> None:
    text = "config:   # odd\n\n    a:    1\n"

    assert effective_text(text, (), "shop", "f") == text


def test_the_text_after_edits_is_what_the_cli_leaves() -> None:
    layout, *steps = json.loads(CASE.read_text())
    edits: tuple[Edit, ...] = ()
    compared = 0
    for step in steps:
        if step["command"] == "up":
            edits = add_edit(edits, Edit("set", "16config:step", (), "badobj"))
        if "file_after" not in step:
            continue
        edits = add_edit(edits, _edit(step["args"]))
        compared += 1
        text = effective_text(layout["text"], edits, "16config", "Pulumi.dev.yaml")
        assert text == step["file_after"], step["step"]
    assert compared > 10


def _edit(args: list[str]) -> Edit:
    """Read a recorded ``config set`` or ``config rm``."""
    kind = args[args.index("--type") + 1] if "--type" in args else None
    words = [word for word in args[2:] if not word.startswith("--") and word != kind]
    key, path = parse_key(words[0], "16config", path="--path" in args)
    if args[1] == "rm":
        return Edit("rm", key, path)
    if "--secret" in args:
        return Edit("set", key, path, Ciphertext("${ciphertext}"))
    return Edit("set", key, path, typed_value(words[1], kind, nested=bool(path)))


def test_texts_of_several_lines_and_comments_survive_in_the_text() -> None:
    text = (
        "# head\nconfig:\n    # about a\n    shop:a: |\n        one\n\n"
        "        two # not a comment\n    shop:b: x    # why\n    shop:l:\n    - 1\n    - 2\n"
    )

    after = effective_text(text, [Edit("set", "shop:c", (), "yes")], "shop", "f")

    assert after == (
        "# head\nconfig:\n  # about a\n  shop:a: |\n    one\n\n    two # not a comment\n"
        '  shop:b: x # why\n  shop:l:\n    - 1\n    - 2\n  shop:c: "yes"\n'
    )


def test_a_stack_without_a_file_gets_the_text_of_a_new_one() -> None:
    edits = [Edit("set", "shop:a", (), "1"), Edit("set", "shop:b", ("x",), [1, None])]

    assert effective_text("", edits, "shop", "f") == (
        'config:\n  shop:a: "1"\n  shop:b:\n    x:\n      - 1\n      - null\n'
    )
