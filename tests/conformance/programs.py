"""What the programs of these tests begin with.

They declare the few types that they use by themselves: loading an SDK of all of AWS costs each run
more than all the rest, and the recorded cases use it already.
"""

from __future__ import annotations

from typing import Final

PRELUDE: Final = """
import pulumi
from pulumi import ComponentResource, InvokeOptions, Output, ResourceOptions, export

config = pulumi.Config()


class Parameter(pulumi.CustomResource):
    arn: Output[str]
    name: Output[str]
    value: Output[str]

    def __init__(self, logical, name=None, value="1", opts=None, **more):
        inputs = {"name": name or f"/{logical}", "type": "String", "value": value, **more}
        super().__init__(
            "aws:ssm/parameter:Parameter", logical, {**inputs, "arn": None}, opts
        )


class Provider(pulumi.ProviderResource):
    def __init__(self, logical, opts=None, **inputs):
        super().__init__("aws", logical, inputs, opts)


class Group(ComponentResource):
    def __init__(self, logical, opts=None):
        super().__init__("shop:index:Group", logical, {}, opts)
"""


def program(text: str) -> str:
    """Give a program that can use the prelude's names."""
    return PRELUDE + text


def changing(**variants: str) -> str:
    """Give a program that does what the configuration ``step`` names."""
    lines = ['step = config.require("step")']
    for step, text in variants.items():
        lines.append(f'if step == "{step}":')
        lines += [f"    {line}" for line in text.strip().splitlines()]
    return program("\n".join(lines) + "\n")
