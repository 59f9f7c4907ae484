"""The committed stacks as the tests run them: settings, and the graph of each program."""

from __future__ import annotations

import datetime as dt
from functools import cache
from pathlib import Path

import pulumi

from infra import naming
from infra.providers import home_provider
from infra.settings import Settings, load
from stacks import bootstrap, environment
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


def graph_of(stack: str, settings: Settings) -> Graph:
    """Return the graph of a stack, such as `dev` or `bootstrap-dev`, with these settings."""
    is_bootstrap = stack.startswith("bootstrap-")

    def program() -> None:
        outputs = (
            bootstrap.build(settings)
            if is_bootstrap
            else environment.build(settings, home_provider(settings))
        )
        for name, value in outputs.to_exports().items():
            pulumi.export(name, value)

    project = naming.BOOTSTRAP_PROJECT if is_bootstrap else naming.PROJECT
    return record(program, project=project, stack=settings.environment)


def every_graph() -> dict[str, Graph]:
    """Return the graphs of all stacks of all environments, by a name for messages."""
    graphs = {env: environment_graph(env) for env in ENVIRONMENTS}
    return graphs | {f"bootstrap-{env}": bootstrap_graph(env) for env in ENVIRONMENTS}
