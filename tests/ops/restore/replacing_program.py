"""The same environment without what protects a database from the engine's own ideas.

Nothing tells the engine to ignore another snapshot: it replaces the database, as Pulumi does.
"""

from __future__ import annotations

import pulumi
from pulumi import ResourceTransformationArgs, ResourceTransformationResult

from tests.ops.restore import restorable_program


def main() -> None:
    """Build it."""
    pulumi.runtime.register_stack_transformation(_unprotected)
    restorable_program.main()


def _unprotected(args: ResourceTransformationArgs) -> ResourceTransformationResult:
    args.opts.ignore_changes = None
    args.opts.import_ = None
    return ResourceTransformationResult(args.props, args.opts)
