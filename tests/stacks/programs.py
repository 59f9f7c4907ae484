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

    def program() -> None:
        outputs = environment.build(settings(env), home_provider(settings(env)))
        for name, value in outputs.to_exports().items():
            pulumi.export(name, value)

    return record(program, stack=env)


@cache
def bootstrap_graph(env: str) -> Graph:
    """Return the graph of an environment's bootstrap stack."""

    def program() -> None:
        for name, value in bootstrap.build(settings(env)).to_exports().items():
            pulumi.export(name, value)

    return record(program, project=naming.BOOTSTRAP_PROJECT, stack=env)


def every_graph() -> dict[str, Graph]:
    """Return the graphs of all stacks of all environments, by a name for messages."""
    graphs = {env: environment_graph(env) for env in ENVIRONMENTS}
    return graphs | {f"bootstrap-{env}": bootstrap_graph(env) for env in ENVIRONMENTS}
