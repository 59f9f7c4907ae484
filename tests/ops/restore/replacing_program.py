"""The same environment without what brings a restored database into it.

Nothing tells the engine to import an instance, or to ignore another snapshot: it makes one.
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
