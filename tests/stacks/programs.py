"""The committed stacks as the tests run them: settings, and the graph of each program."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pulumi

from infra import naming
from infra.providers import home_provider
from infra.settings import Settings, load
from stacks import account, bootstrap, environment
from stacks.outputs import AccountOutputs, BootstrapOutputs, EnvironmentOutputs
from tests.graph import Graph, record

ROOT = Path(__file__).resolve().parents[2]
TODAY = dt.date(2026, 11, 24)
"""Before any committed waiver ends."""
ENVIRONMENTS = naming.ENVIRONMENTS


@cache
def settings(env: str) -> Settings:
    """Return the committed settings of an environment."""
    return load(env, ROOT, TODAY)


@cache
def environment_graph(env: str) -> Graph:
    """Return the graph of an environment's stack."""
    return graph_of(env, settings(env))


@cache
def bootstrap_graph(env: str) -> Graph:
    """Return the graph of an environment's bootstrap stack."""
    return graph_of(f"bootstrap-{env}", settings(env))


def settings_of(stack: str) -> Settings:
    """Return the settings that a stack of `GRAPHS` is made with."""
    return settings(stack.rpartition("-")[2])


def kind_of(stack: str) -> str:
    """Return `environment`, `bootstrap` or `account`."""
    return stack.rpartition("-")[0] or "environment"


@cache
def account_graph(env: str) -> Graph:
    """Return the graph of the stack of an environment's account, which no other lives in."""
    return graph_of(f"account-{env}", settings(env))


def graph_of(stack: str, settings: Settings) -> Graph:
    """Return the graph of a stack, such as `dev` or `bootstrap-dev`, with these settings."""

    def program() -> None:
        outputs: EnvironmentOutputs[Any] | BootstrapOutputs[Any] | AccountOutputs[Any]
        match kind_of(stack):
            case "account":
                outputs = account.build([settings])
            case "bootstrap":
                outputs = bootstrap.build(settings)
            case _:
                outputs = environment.build(settings, home_provider(settings), suspended=False)
        for name, value in outputs.to_exports().items():
            pulumi.export(name, value)

    project, name = {
        "account": (naming.ACCOUNT_PROJECT, settings.account_id),
        "bootstrap": (naming.BOOTSTRAP_PROJECT, settings.environment),
        "environment": (naming.PROJECT, settings.environment),
    }[kind_of(stack)]
    return record(program, project=project, stack=name)


class Graphs(Mapping[str, Graph]):
    """The graphs of all stacks of all environments, each built when it is first asked for.

    A test's module names them before it is known whether any of its tests is run.
    """

    def __getitem__(self, stack: str) -> Graph:
        build = {
            "account": account_graph,
            "bootstrap": bootstrap_graph,
            "environment": environment_graph,
        }[kind_of(stack)]
        return build(stack.rpartition("-")[2])

    def __iter__(self) -> Iterator[str]:
        for kind in ("", "bootstrap-", "account-"):
            yield from (f"{kind}{env}" for env in ENVIRONMENTS)

    def __len__(self) -> int:
        return 3 * len(ENVIRONMENTS)


GRAPHS = Graphs()
