"""The Pulumi program of an environment: from the stack's configuration to its exports."""

from __future__ import annotations

from datetime import UTC, datetime

import pulumi

from infra import naming, version_calendar
from infra.providers import act_as, home_provider
from infra.settings import SettingsError, ended_waivers, parse
from stacks import environment, suspension


def main() -> None:
    """Build the selected stack. The clock is read here and nowhere else."""
    now = datetime.now(tz=UTC)
    today = now.date()
    config = pulumi.Config(naming.PROJECT)
    acting = act_as(config.get("act-as"), preview=pulumi.runtime.is_dry_run())
    try:
        settings = parse(pulumi.get_stack(), config.get_object("settings"), today)
    except SettingsError as error:
        raise pulumi.RunError(str(error)) from None
    for ended in ended_waivers(settings, today):
        pulumi.log.warn(f"{ended.file}: {ended}")
    for finding in version_calendar.findings(settings, today):
        pulumi.log.warn(f"{finding.file}: {finding}")
    aws = home_provider(settings, acting)
    suspended = suspension.find(settings, aws, now) is not None
    outputs = environment.build(settings, aws, suspended=suspended)
    for name, value in outputs.to_exports().items():
        pulumi.export(name, value)
