"""The committed stacks' graphs, as reviewed. `make golden` (UPDATE_GOLDEN=1) writes them anew.

These files review change: a diff shows which resources a commit adds, moves, or stops protecting.
What must hold is asserted elsewhere.
"""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.graph import STACK_TYPE, Graph
from tests.stacks.programs import GRAPHS

GOLDEN = Path(__file__).resolve().parents[1] / "golden"


def drawn(graph: Graph) -> dict[str, Any]:
    """Return a graph as its golden file has it: what is made, below what, with which inputs."""

    def resource(urn: str) -> dict[str, Any]:
        node = graph.nodes[urn]
        parent = graph.nodes[node.parent]
        return {
            "parent": None if parent.type == STACK_TYPE else parent.label,
            **({"protect": True} if node.protect else {}),
            "inputs": sorted(node.inputs),
        }

    return {
        "exports": sorted(graph.exports),
        "resources": {node.label: resource(node.urn) for node in graph.resources()},
    }


@pytest.mark.parametrize("stack", sorted(GRAPHS))
def test_a_stack_is_what_was_reviewed(stack: str) -> None:
    file = GOLDEN / f"{stack}.json"
    found = drawn(GRAPHS[stack])
    if os.environ.get("UPDATE_GOLDEN"):
        file.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    assert found == json.loads(file.read_text(encoding="utf-8")), (
        f"the graph of {stack} changed: if that is meant, run `make golden` and review the diff"
    )


def test_there_is_no_golden_file_of_a_stack_that_is_gone() -> None:
    assert {file.stem for file in GOLDEN.glob("*.json")} == set(GRAPHS)
