"""Which package may import which: read from the sources, not from what happens to be loaded."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("components", "infra", "ops", "stacks")
ALLOWED = {
    "components": {"components"},
    "stacks": {
        "components",
        "infra.naming",
        "infra.providers",
        "infra.settings",
        "infra.suspension",
        "stacks",
    },
    "infra.settings": {"infra.naming", "infra.settings"},
    "infra.naming": {"infra.settings"},  # for the type checker alone: see below
    "infra.policies": {"infra.policies"},
    "infra.providers": {"infra.naming", "infra.settings"},
    "infra.program": {
        "infra.naming",
        "infra.providers",
        "infra.settings",
        "infra.version_calendar",
        "stacks",
    },
    "infra.sandbox": {"infra.naming", "infra.settings", "infra.sandbox"},
    "infra.suspension": {"infra.naming"},
    "infra.version_calendar": {"infra.naming", "infra.settings"},
    "ops": {
        "infra.naming",
        "infra.sandbox",
        "infra.settings",
        "infra.suspension",
        "infra.version_calendar",
        "ops",
        "stacks.account",
        "stacks.bootstrap",
        "stacks.outputs",
    },
}
"""Module or package -> what it may import of ours; the longest name that fits counts."""
NO_EFFECTS = (
    "components",
    "stacks",
    "infra.settings",
    "infra.suspension",
    "infra.naming",
    "infra.policies",
)
FORBIDDEN = {
    "boto3",
    "botocore",
    "random",
    "requests",
    "secrets",
    "socket",
    "time",
    "urllib",
    "uuid",
}
LAZY = {
    ("ops", "stacks.account"),
    ("ops", "stacks.bootstrap"),
    ("ops.__main__", "infra.sandbox"),
    ("ops", "pulumi_aws"),
}
"""Imports that only a function may make: they are heavy, or for one mode alone."""


def modules() -> list[tuple[str, Path]]:
    found = []
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found.append((".".join(p for p in parts if p != "__init__"), path))
    return found


def imported(tree: ast.AST) -> Iterator[str]:
    """Full names of all that a module imports; `from a import b` may mean `a.b`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute: one module has one name"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def top_level(tree: ast.Module) -> Iterator[str]:
    """What is imported when the module is."""
    for node in tree.body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield from imported(node)


def within(name: str, packages: set[str] | tuple[str, ...]) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def rule(module: str) -> set[str]:
    fitting = [name for name in ALLOWED if within(module, {name})]
    return ALLOWED[max(fitting, key=len)] if fitting else set()


MODULES = modules()
each_module = pytest.mark.parametrize(
    ("module", "path"), MODULES, ids=[name for name, _ in MODULES]
)


@each_module
def test_a_module_imports_only_from_its_own_layer_or_below(module: str, path: Path) -> None:
    ours = {name for name in imported(_tree(path)) if within(name, PACKAGES)}
    assert {name for name in ours if not within(name, rule(module))} == set()


def test_naming_needs_settings_for_the_type_checker_alone() -> None:
    tree = _tree(ROOT / "infra" / "naming.py")
    assert not [name for name in top_level(tree) if within(name, {"infra.settings"})]


@each_module
def test_what_decides_reads_no_clock_no_chance_and_no_network(module: str, path: Path) -> None:
    if within(module, NO_EFFECTS):
        found = {name.partition(".")[0] for name in imported(_tree(path))}
        assert not found & FORBIDDEN
        assert not {"now", "today", "utcnow"} & _called(path)


@each_module
def test_providers_sdks_are_imported_leaf_by_leaf(module: str, path: Path) -> None:
    """A subpackage loads hundreds of classes, and keeps the names of all within reach."""
    for name in imported(_tree(path)):
        if within(name, {"pulumi_aws"}) and not name.endswith("Args"):
            last = name.rpartition(".")[2]
            is_leaf = (last[0].isupper() or last.startswith("get_")) and name.count(".") >= 2
            assert is_leaf, f"{module} imports {name}: import the class from its own module"


@pytest.mark.parametrize(("outer", "heavy"), sorted(LAZY))
def test_heavy_parts_are_imported_by_the_commands_that_need_them(outer: str, heavy: str) -> None:
    eager = [
        module
        for module, path in MODULES
        if within(module, {outer})
        for name in top_level(_tree(path))
        if within(name, {heavy})
    ]
    assert eager == []


def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def _called(path: Path) -> set[str]:
    """Names of methods called: `x.now()` -> now."""
    return {
        node.func.attr
        for node in ast.walk(_tree(path))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    }
