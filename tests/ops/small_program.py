"""A program of few resources, shaped by its configuration; it stands in for the real one."""

import os
import signal

import pulumi
from pulumi_aws.ec2.vpc import Vpc
from pulumi_aws.kms.alias import Alias
from pulumi_aws.kms.key import Key
from pulumi_aws.provider import Provider

config = pulumi.Config("mono-repo")
aws = Provider("aws", region="us-east-1", allowed_account_ids=["111122223333"])
on_aws = pulumi.ResourceOptions(provider=aws)


class Group(pulumi.ComponentResource):
    """Some of the resources."""

    def __init__(self, name: str) -> None:
        super().__init__("mono-repo:index:Group", name, {}, pulumi.ResourceOptions(providers=[aws]))
        child = pulumi.ResourceOptions(parent=self)
        self.vpc = Vpc(
            "vpc",
            cidr_block=config.get("cidr") or "10.0.0.0/16",
            tags={"Name": config.get("name") or "small"},
            opts=child,
        )
        guarded = pulumi.ResourceOptions(parent=self, protect=config.get_bool("protect"))
        key = Key("key", description="for parameters", deletion_window_in_days=7, opts=guarded)
        Alias("key", name="alias/mono-repo-parameter-store-dev", target_key_id=key.id, opts=child)
        self.register_outputs({})


if config.get_int("kill"):
    os.kill(config.require_int("kill"), signal.SIGKILL)
group = Group("group")
if config.get_bool("unsupported"):
    pulumi.CustomResource("aws:nosuch/thing:Thing", "thing", {}, on_aws)
if config.get_bool("broken"):
    raise pulumi.RunError("the program says no")
if config.get_bool("hanging"):
    import time
    from pathlib import Path

    Path("hanging").write_text("it has begun")
    time.sleep(600)

pulumi.export("vpc_id", group.vpc.id)
pulumi.export("password", pulumi.Output.secret("not-to-be-seen"))
pulumi.export("nested", {"password": pulumi.Output.secret("not-to-be-seen")})
