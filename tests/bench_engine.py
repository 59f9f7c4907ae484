"""Runs one operation on a made-up stack through the Automation API and the embedded engine.

`python -m tests.bench_engine up 10` prints what became of the resources, as JSON. The sandbox is
that of MONO_REPO_SANDBOX_HOME; the project lies beside it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from pulumi import automation

from infra.sandbox import servers
from infra.sandbox.engine.command import EmbeddedCommand

RESOURCES_A_GROUP = 15
PROGRAM = """
import json

import pulumi
from pulumi_aws.cloudwatch.log_group import LogGroup
from pulumi_aws.iam.role import Role
from pulumi_aws.kms.key import Key
from pulumi_aws.provider import Provider
from pulumi_aws.ssm.parameter import Parameter

aws = Provider("aws", region="us-east-1")
trust = json.dumps({
    "Version": "2012-10-17",
    "Statement": [{
        "Effect": "Allow",
        "Action": "sts:AssumeRole",
        "Principal": {"Service": "ec2.amazonaws.com"},
    }],
})
for group in range(GROUPS):
    component = pulumi.ComponentResource(
        "bench:index:Group", f"group-{group}", {}, pulumi.ResourceOptions(providers=[aws])
    )
    child = pulumi.ResourceOptions(parent=component)
    key = Key(f"key-{group}", description=f"group {group}", opts=child)
    for index in range(7):
        name = f"/bench/SIZE/{group}/{index}"
        Parameter(f"parameter-{group}-{index}", name=name, type="String", value=key.arn, opts=child)
    for index in range(3):
        tags = {"group": str(group)}
        Role(f"role-{group}-{index}", assume_role_policy=trust, tags=tags, opts=child)
    for index in range(3):
        LogGroup(f"logs-{group}-{index}", retention_in_days=7, opts=child)
"""


def main(kind: str, size: int) -> None:
    """Run one of preview, up, refresh and destroy on a stack of `size` resources."""
    home = servers.home()
    cloud = servers.ensure_running(home)
    project = home.parent / f"bench-{size}"
    project.mkdir(parents=True, exist_ok=True)
    (project / "Pulumi.yaml").write_text(f"name: bench-{size}\nruntime: python\n")
    program = PROGRAM.replace("GROUPS", str(size // RESOURCES_A_GROUP)).replace("SIZE", str(size))
    (project / "__main__.py").write_text(program)
    stack = automation.create_or_select_stack(
        "dev",
        work_dir=str(project),
        opts=automation.LocalWorkspaceOptions(
            env_vars=servers.environment(cloud, "us-east-1"),
            pulumi_command=EmbeddedCommand(  # type: ignore[arg-type]  # all that is used of one
                home, cloud_identity=cloud.identity, python=Path(sys.executable)
            ),
        ),
    )
    if kind == "preview":
        counts = {str(op): count for op, count in stack.preview().change_summary.items()}
    else:
        result = getattr(stack, kind)()
        counts = result.summary.resource_changes or {}
    print(json.dumps({op: count for op, count in counts.items() if count}))  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
