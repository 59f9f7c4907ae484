"""The committed stacks as the tests run them: settings, and the graph of each program."""

from __future__ import annotations

import datetime as dt
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
    """Return the settings that a stack of `every_graph` is made with."""
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


def every_graph() -> dict[str, Graph]:
    """Return the graphs of all stacks of all environments, by a name for messages."""
    graphs: dict[str, Graph] = {env: environment_graph(env) for env in ENVIRONMENTS}
    graphs |= {f"bootstrap-{env}": bootstrap_graph(env) for env in ENVIRONMENTS}
    return graphs | {f"account-{env}": account_graph(env) for env in ENVIRONMENTS}
