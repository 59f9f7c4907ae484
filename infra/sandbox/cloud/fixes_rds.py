"""Corrections to moto's RDS where it contradicts AWS in a way that a rehearsal trips over."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from typing import Any, Final

NEWEST_MINORS: Final = {
    "13": "13.23",
    "14": "14.20",
    "15": "15.15",
    "16": "16.11",
    "17": "17.7",
    "18": "18.1",
}
"""PostgreSQL major -> the version that an instance gets which asks for no minor."""


def install() -> None:
    """Apply all corrections to the imported moto; once a process."""
    _keep_what_instances_are_made_with()
    _refuse_what_aws_refuses_of_instances()
    _put_the_master_user_into_its_secret()
    _keep_groups_that_are_used()
    _keep_changed_subnet_groups()
    _reset_parameters()
    _describe_automated_backups()


def _keep_what_instances_are_made_with() -> None:
    """Keep Performance Insights, the whole engine version, and the port that an update gives."""
    from moto.rds.models import DBInstance

    original_init, original_update = DBInstance.__init__, DBInstance.update

    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807
        if kwargs.get("engine_version"):
            kwargs["engine_version"] = _whole_version(
                kwargs.get("engine", ""), kwargs["engine_version"]
            )
        original_init(self, *args, **kwargs)
        self.engine_lifecycle_support = kwargs.get(
            "engine_lifecycle_support", "open-source-rds-extended-support"
        )
        self.performance_insights_enabled = False
        _set_insights(self, kwargs)

    def update(self: Any, **kwargs: Any) -> None:
        if kwargs.get("engine_version"):
            kwargs["engine_version"] = _whole_version(self.engine, kwargs["engine_version"])
        original_update(self, **kwargs)
        if kwargs.get("db_port_number"):
            self.port = kwargs["db_port_number"]
        _set_insights(self, kwargs)

    _replace(DBInstance, __init__)
    _replace(DBInstance, update)


def _set_insights(instance: Any, given: dict[str, Any]) -> None:
    enabled = given.get("enable_performance_insights")
    if enabled is not None:
        instance.performance_insights_enabled = enabled
    on = instance.performance_insights_enabled
    key, days = "performance_insights_kms_key_id", "performance_insights_retention_period"
    setattr(instance, key, (given.get(key) or getattr(instance, key, None)) if on else None)
    setattr(instance, days, (given.get(days) or getattr(instance, days, None) or 7) if on else None)


def _whole_version(engine: str, version: str) -> str:
    """Give the version that an instance gets; AWS refuses one that it does not have."""
    from moto.rds.exceptions import InvalidParameterCombination

    if engine != "postgres" or version in NEWEST_MINORS.values():
        return version
    major, _, minor = version.partition(".")
    newest = NEWEST_MINORS.get(major)
    if newest is None or not (minor.isdecimal() or version == major):
        raise InvalidParameterCombination(f"Cannot find version {version} for {engine}")
    return version if minor else newest


def _refuse_what_aws_refuses_of_instances() -> None:
    """Refuse an upgrade unasked for, another family's parameters, a loss without a snapshot."""
    from moto.rds.exceptions import InvalidParameterCombination
    from moto.rds.models import RDSBackend

    original_create = RDSBackend.create_db_instance
    original_modify = RDSBackend.modify_db_instance
    original_delete = RDSBackend.delete_db_instance

    def check_family(self: Any, engine: str, version: str | None, group: str | None) -> None:
        found = self.db_parameter_groups.get(group) if group else None
        if engine != "postgres" or found is None or not version:
            return
        family = f"{engine}{_major(version)}"
        if found.family != family:
            raise InvalidParameterCombination(
                f"The parameter group {group} with DBParameterGroupFamily {found.family} can't be"
                f" used for this instance. Please use a parameter group with"
                f" DBParameterGroupFamily {family}."
            )

    def create_db_instance(self: Any, db_kwargs: Any) -> Any:
        check_family(
            self,
            db_kwargs.get("engine"),
            db_kwargs.get("engine_version"),
            db_kwargs.get("db_parameter_group_name"),
        )
        return original_create(self, db_kwargs)

    def modify_db_instance(self: Any, db_instance_identifier: str, db_kwargs: Any) -> Any:
        instance = self.describe_db_instances(db_instance_identifier)[0]
        wanted = db_kwargs.get("engine_version") or instance.engine_version
        if _major(wanted) != _major(instance.engine_version) and not db_kwargs.get(
            "allow_major_version_upgrade"
        ):
            raise InvalidParameterCombination(
                "The AllowMajorVersionUpgrade flag must be present when upgrading to a new major"
                " version."
            )
        group = db_kwargs.get("db_parameter_group_name") or instance.db_parameter_group_name
        check_family(self, instance.engine, wanted, group)
        return original_modify(self, db_instance_identifier, db_kwargs)

    def delete_db_instance(
        self: Any,
        db_instance_identifier: str,
        final_db_snapshot_identifier: str | None = None,
        skip_final_snapshot: bool | None = False,
        delete_automated_backups: bool | None = True,
    ) -> Any:
        if not skip_final_snapshot and not final_db_snapshot_identifier:
            raise InvalidParameterCombination(
                "FinalDBSnapshotIdentifier is required unless SkipFinalSnapshot is specified."
            )
        return original_delete(
            self,
            db_instance_identifier,
            final_db_snapshot_identifier,
            skip_final_snapshot,
            delete_automated_backups,
        )

    _replace(RDSBackend, create_db_instance)
    _replace(RDSBackend, modify_db_instance)
    _replace(RDSBackend, delete_db_instance)


def _major(version: str) -> str:
    return version.partition(".")[0]


def _put_the_master_user_into_its_secret() -> None:
    from moto.rds.models import MasterUserSecret

    def _generate_secret_string(self: Any) -> str:
        return json.dumps(
            {"username": self.resource.master_username, "password": secrets.token_urlsafe(24)}
        )

    _replace(MasterUserSecret, _generate_secret_string)


def _keep_groups_that_are_used() -> None:
    from moto.rds.exceptions import RDSClientError
    from moto.rds.models import RDSBackend

    original_parameters = RDSBackend.delete_db_parameter_group
    original_subnets = RDSBackend.delete_subnet_group

    def delete_db_parameter_group(self: Any, db_parameter_group_name: str) -> Any:
        users = self.databases.values()
        if any(user.db_parameter_group_name == db_parameter_group_name for user in users):
            raise RDSClientError(
                "InvalidDBParameterGroupState",
                "One or more database instances are still members of this parameter group"
                f" {db_parameter_group_name}, so the group cannot be deleted",
            )
        return original_parameters(self, db_parameter_group_name)

    def delete_subnet_group(self: Any, subnet_name: str) -> Any:
        for user in self.databases.values():
            group = getattr(user, "db_subnet_group", None)
            if group is not None and group.name == subnet_name:
                raise RDSClientError(
                    "InvalidDBSubnetGroupStateFault",
                    f"Cannot delete the subnet group '{subnet_name}' because at least one database"
                    f" instance: {user.db_instance_identifier} is still using it.",
                )
        return original_subnets(self, subnet_name)

    _replace(RDSBackend, delete_db_parameter_group)
    _replace(RDSBackend, delete_subnet_group)


def _keep_changed_subnet_groups() -> None:
    # moto takes a group out to change it and does not put it back.
    from moto.rds.models import RDSBackend

    original = RDSBackend.modify_db_subnet_group

    def modify_db_subnet_group(
        self: Any, subnet_name: str, description: str, subnets: list[Any]
    ) -> Any:
        group = original(self, subnet_name, description, subnets)
        self.subnet_groups[subnet_name] = group
        return group

    _replace(RDSBackend, modify_db_subnet_group)


def _reset_parameters() -> None:
    from moto.core.responses import ActionResult
    from moto.rds.exceptions import DBParameterGroupNotFoundError
    from moto.rds.responses import RDSResponse

    def reset_db_parameter_group(self: Any) -> Any:
        name = self.params.get("DBParameterGroupName")
        group = self.backend.db_parameter_groups.get(name)
        if group is None:
            raise DBParameterGroupNotFoundError(name)
        if self.params.get("ResetAllParameters"):
            group.parameters.clear()
        for parameter in self.params.get("Parameters", []):
            group.parameters.pop(parameter.original_dict()["ParameterName"], None)
        return ActionResult({"DBParameterGroupName": name})

    _replace(RDSResponse, reset_db_parameter_group)


def _describe_automated_backups() -> None:
    """Tell of an instance's automated backups what its newest snapshot knows."""
    from moto.rds.models import DBInstanceAutomatedBackup

    def told(name: str) -> property:
        return property(lambda self: getattr(self.automated_snapshots[-1], name))

    for name in (
        "allocated_storage",
        "dbi_resource_id",
        "encrypted",
        "engine",
        "engine_version",
        "kms_key_id",
    ):
        setattr(DBInstanceAutomatedBackup, name, told(name))


def _replace(owner: type, method: Callable[..., Any]) -> None:
    """Put a method in the place of moto's own of that name."""
    setattr(owner, method.__name__, method)
