"""The Pulumi program of an environment: from the stack's configuration to its exports."""

from __future__ import annotations

from datetime import UTC, datetime

import pulumi

from infra import naming
from infra.providers import home_provider
from infra.settings import SettingsError, ended_waivers, parse
from stacks import environment


def main() -> None:
    """Build the selected stack. The clock is read here and nowhere else."""
    today = datetime.now(tz=UTC).date()
    raw = pulumi.Config(naming.PROJECT).get_object("settings")
    try:
        settings = parse(pulumi.get_stack(), raw, today)
    except SettingsError as error:
        raise pulumi.RunError(str(error)) from None
    for ended in ended_waivers(settings, today):
        pulumi.log.warn(f"{ended.file}: {ended}")
    outputs = environment.build(settings, home_provider(settings))
    for name, value in outputs.to_exports().items():
        pulumi.export(name, value)
