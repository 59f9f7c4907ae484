"""From the parameter catalogue to the parameters that the program owns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pulumi import Input

from components.parameter_store import ProgramParameter
from infra import naming
from infra.settings import Parameter, Settings


def parameter_sources(
    settings: Settings, *, vpc_id: Input[str], database_hosts: Mapping[str, Input[str]]
) -> dict[str, Input[str]]:
    """Return what a catalogue entry's `source` may name, by that name.

    `database_hosts` maps a database's name to its host name.
    """
    env = settings.environment
    scheme = "https" if settings.load_balancer.certificate_arn else "http"
    sources: dict[str, Input[str]] = {
        "environment": env,
        "region": settings.region,
        "account-id": settings.account_id,
        "vpc.id": vpc_id,
        "vpc.cidr": settings.network.cidr,
        "cluster.name": naming.cluster(env),
    }
    for database in settings.databases:
        sources |= {
            f"database.{database.name}.host": database_hosts[database.name],
            f"database.{database.name}.port": str(database.port),
            f"database.{database.name}.name": database.database_name,
            f"database.{database.name}.username": database.username,
        }
    for workload in settings.workloads:
        sources[f"workload.{workload.name}.url"] = f"{scheme}://{naming.hostname(workload.name)}"
    return sources


def program_parameters(
    catalogue: Sequence[Parameter], sources: Mapping[str, Input[str]]
) -> dict[str, ProgramParameter]:
    """Return the catalogue's program-owned parameters, name -> parameter."""
    return {
        entry.name: ProgramParameter(
            value=_value(entry, sources),
            description=entry.description,
            pattern=entry.anchored_pattern,
        )
        for entry in catalogue
        if entry.owner == "program"
    }


def _value(entry: Parameter, sources: Mapping[str, Input[str]]) -> Input[str]:
    if entry.source is not None:
        return sources[entry.source]
    if entry.value is None:
        raise ValueError(f"parameter {entry.name} has neither a value nor a source")
    return entry.value
