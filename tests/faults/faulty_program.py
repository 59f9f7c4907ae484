"""A few resources, and a fault in the middle of making them that its configuration chooses."""

import os
import signal
import time
from pathlib import Path

import pulumi
from pulumi_aws.ec2.vpc import Vpc
from pulumi_aws.provider import Provider
from pulumi_aws.ssm.parameter import Parameter

config = pulumi.Config("mono-repo")
fault = config.get("fault") or "none"
aws = Provider("aws", region="us-east-1", allowed_account_ids=["111122223333"])
on_aws = pulumi.ResourceOptions(provider=aws)
vpc = Vpc("vpc", cidr_block="10.0.0.0/16", tags={"Name": "faulty"}, opts=on_aws)


def strike(vpc_id: str) -> str:
    """Do what is asked for, once the VPC is there."""
    if pulumi.runtime.is_dry_run():
        return vpc_id
    if fault == "hang":
        Path(config.require("marker")).write_text(vpc_id)
        time.sleep(600)
    if fault == "kill cloud":
        os.kill(config.require_int("cloud"), signal.SIGKILL)
    if fault == "raise":
        raise ValueError("what nobody foresaw")
    return vpc_id


struck = vpc.id.apply(strike)
for number in range(3):
    Parameter(
        f"parameter-{number}",
        name=f"/faulty/{number}",
        type="String",
        value=struck,
        opts=on_aws,
    )
pulumi.export("vpc_id", struck)
