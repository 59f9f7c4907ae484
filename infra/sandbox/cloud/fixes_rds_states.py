"""RDS takes its time: instances and snapshots pass through states, and refuse what AWS refuses.

A state lasts for a number of describes, one unless moto's state manager is told otherwise (``POST
/moto-api/state-manager/set-transition`` with the model ``rds::db-instance`` or
``rds::db-snapshot``), so that nothing waits for a clock and a test can hold a state.
"""

from __future__ import annotations

import copy
import json
import uuid
from collections.abc import Mapping
from typing import Any, Final

INSTANCE: Final = "rds::db-instance"
SNAPSHOT: Final = "rds::db-snapshot"
RECORDS_A_PAGE: Final = 100

RESTART_PATH: Final = "/moto-api/rds/restart-after-seven-days"
"""``POST {"account": …, "region": …, "instance": …}``: AWS starts what was stopped for a week."""

# What becomes of an instance that is in the state of the key.
_NEXT: Final = {
    "creating": "available",
    "starting": "available",
    "stopping": "stopped",
    "deleting": "deleted",
}
# (event id, categories, message) by what happened, as the RDS user guide lists them.
_EVENTS: Final = {
    "restoring": ("RDS-EVENT-0043", ["restoration"], "Restored from snapshot {detail}"),
    "deleted": ("RDS-EVENT-0003", ["deletion"], "DB instance deleted"),
    "stopped": ("RDS-EVENT-0087", ["notification"], "DB instance stopped"),
    "started": ("RDS-EVENT-0088", ["notification"], "DB instance started"),
    "restarting": (
        "RDS-EVENT-0154",
        ["notification"],
        "DB instance is being started due to it exceeding the maximum allowed time being stopped.",
    ),
}


def install() -> None:
    """Apply all corrections to the imported moto; once a process."""
    from moto.moto_api import state_manager

    for model in (INSTANCE, SNAPSHOT):
        state_manager.register_default_transition(model, {"progression": "manual", "times": 1})
    _show_instances_as_they_become()
    _show_snapshots_as_they_become()
    _start_and_stop()
    _refuse_changes_in_the_wrong_state()
    _make_snapshots_of_what_is_available()
    _create_and_delete()
    _keep_replicas_apart()
    _restore()
    _start_what_was_stopped_for_a_week()


# -- states ---------------------------------------------------------------------------------


def _enter(thing: Any, model: str, state: str, final: str) -> None:
    from moto.moto_api._internal.managed_state_model import ManagedState

    thing.status = state
    thing.sandbox_state = ManagedState(model, [(state, final)])


def _look(thing: Any) -> bool:
    """Bring a thing's status up to date; whether it just reached the state it was going to."""
    state = getattr(thing, "sandbox_state", None)
    if state is None:
        return False
    before, thing.status = thing.status, state.status
    if thing.status == before:
        return False
    thing.sandbox_state = None
    return True


def _describe(thing: Any) -> bool:
    """Bring it up to date likewise, and count it as one describe."""
    reached = _look(thing)
    if getattr(thing, "sandbox_state", None) is not None:
        thing.sandbox_state.advance()
    return reached


def _advance_instance(backend: Any, instance: Any) -> None:
    before = instance.status
    if not _describe(instance):
        return
    if instance.status == "deleted":
        del backend.databases[instance.db_instance_identifier]
        for snapshot in _unfinished_snapshots(backend, instance):
            _finish(snapshot)
        _tell(instance, "deleted")
    elif instance.status == "stopped":
        _tell(instance, "stopped")
    elif before == "starting":
        _tell(instance, "started")


def _unfinished_snapshots(backend: Any, instance: Any) -> list[Any]:
    return [
        snapshot
        for snapshot in list(backend.database_snapshots.values())
        if snapshot.status == "creating" and snapshot.dbi_resource_id == instance.dbi_resource_id
    ]


def _finish(snapshot: Any) -> None:
    snapshot.status, snapshot.sandbox_state = "available", None


def _tell(instance: Any, what: str, detail: str = "") -> None:
    """Record an event of an instance, and hand it to EventBridge's default bus."""
    from moto.events.models import events_backends
    from moto.rds.models import Event

    id_, categories, text = _EVENTS[what]
    message = text.format(detail=detail)
    backend = instance.backend
    event = Event("DB_INSTANCE_CREATE", instance)
    event.message, event.event_categories = message, categories
    backend.events.append(event)
    told = {
        "EventCategories": categories,
        "SourceType": "DB_INSTANCE",
        "SourceArn": instance.arn,
        "Date": f"{event.date.isoformat(timespec='milliseconds')}Z",
        "Message": message,
        "SourceIdentifier": instance.db_instance_identifier,
        "EventID": id_,
    }
    events_backends[backend.account_id][backend.region_name].put_events(
        [
            {
                "Source": "aws.rds",
                "DetailType": "RDS DB Instance Event",
                "Detail": json.dumps(told),
                "Resources": [instance.arn],
            }
        ]
    )


# -- describing -----------------------------------------------------------------------------


def _show_instances_as_they_become() -> None:
    from moto.rds.exceptions import DBInstanceNotFoundError
    from moto.rds.models import DBInstance
    from moto.rds.responses import RDSResponse

    address = vars(DBInstance)["endpoint"].fget

    def endpoint(self: Any) -> dict[str, Any] | None:
        found: dict[str, Any] | None = address(self) if self.status != "creating" else None
        return found

    def describe_db_instances(self: Any) -> Any:
        name = self.params.get("DBInstanceIdentifier")
        filters = {one["Name"]: one["Values"] for one in self.params.get("Filters", [])}
        found = self.backend.describe_db_instances(name, filters=filters)
        for instance in found:
            _advance_instance(self.backend, instance)
        there = [instance for instance in found if instance.status != "deleted"]
        if name and not there:
            raise DBInstanceNotFoundError(name)
        return _page(self, "DBInstances", [_shown(self.backend, one) for one in there])

    setattr(DBInstance, "endpoint", property(endpoint))  # noqa: B010 - a property
    setattr(RDSResponse, "describe_db_instances", describe_db_instances)  # noqa: B010


def _page(response: Any, key: str, found: list[Any]) -> Any:
    from moto.core.responses import ActionResult

    start = int(response.params.get("Marker") or 0)
    end = start + int(response.params.get("MaxRecords") or RECORDS_A_PAGE)
    more = {"Marker": str(end)} if end < len(found) else {}
    return ActionResult({key: found[start:end], **more})


def _shown(backend: Any, instance: Any) -> Any:
    """Give an instance as AWS shows it: it is backing up while a snapshot of it is made."""
    if instance.status != "available" or not _unfinished_snapshots(backend, instance):
        return instance
    shown = copy.copy(instance)
    shown.status = "backing-up"
    return shown


def _show_snapshots_as_they_become() -> None:
    from moto.rds.models import DBSnapshot
    from moto.rds.responses import RDSResponse

    original = DBSnapshot.__init__

    def __init__(self: Any, backend: Any, database: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807
        original(self, backend, database, *args, **kwargs)
        subnets = getattr(database, "db_subnet_group", None)
        self.availability_zone = database.availability_zone
        self.backup_retention_period = database.backup_retention_period
        self.iops = database.iops
        self.license_model = database.license_model
        self.option_group_name = database.option_group_name
        self.preferred_backup_window = database.preferred_backup_window
        self.snapshot_target = "region"
        self.storage_throughput = database.storage_throughput
        self.storage_type = database.storage_type
        self.vpc_id = subnets.vpc_id if subnets else None

    def percent_progress(self: Any) -> int:
        return 100 if self.status == "available" else 0

    def describe_db_snapshots(self: Any) -> Any:
        filters = {one["Name"]: one["Values"] for one in self.params.get("Filters", [])}
        found = self.backend.describe_db_snapshots(
            self.params.get("DBInstanceIdentifier"),
            self.params.get("DBSnapshotIdentifier"),
            self.params.get("SnapshotType"),
            filters,
        )
        for snapshot in found:
            _describe(snapshot)
        return _page(self, "DBSnapshots", found)

    setattr(DBSnapshot, "__init__", __init__)  # noqa: B010
    setattr(DBSnapshot, "percent_progress", property(percent_progress))  # noqa: B010
    setattr(RDSResponse, "describe_db_snapshots", describe_db_snapshots)  # noqa: B010


# -- stop and start -------------------------------------------------------------------------


def _start_and_stop() -> None:
    from moto.rds.models import RDSBackend

    def stop_db_instance(
        self: Any, db_instance_identifier: str, db_snapshot_identifier: str | None = None
    ) -> Any:
        instance = _instance(self, db_instance_identifier)
        if instance.is_replica or instance.replicas:
            kind = "is" if instance.is_replica else "has"
            raise _state_error(
                f"Cannot stop DB instance {db_instance_identifier}: it {kind} a read replica."
            )
        if instance.status != "available" or _unfinished_snapshots(self, instance):
            raise _state_error(f"Instance {db_instance_identifier} is not in available state.")
        if db_snapshot_identifier:
            self.create_db_snapshot(db_instance_identifier, db_snapshot_identifier)
        _enter(instance, INSTANCE, "stopping", _NEXT["stopping"])
        return instance

    def start_db_instance(self: Any, db_instance_identifier: str) -> Any:
        instance = _instance(self, db_instance_identifier)
        if instance.status != "stopped":
            raise _state_error(
                f"Instance {db_instance_identifier} is not stopped, it cannot be started."
            )
        _check_key(self, instance.kms_key_id)
        _enter(instance, INSTANCE, "starting", _NEXT["starting"])
        return instance

    setattr(RDSBackend, "stop_db_instance", stop_db_instance)  # noqa: B010
    setattr(RDSBackend, "start_db_instance", start_db_instance)  # noqa: B010


def _instance(backend: Any, name: str) -> Any:
    """Find an instance, with its state as it is by now."""
    from moto.rds.exceptions import DBInstanceNotFoundError

    instance = backend.databases.get(name)
    if instance is None:
        raise DBInstanceNotFoundError(name)
    _look(instance)
    return instance


def _state_error(message: str, code: str = "InvalidDBInstanceState") -> Exception:
    from moto.rds.exceptions import RDSClientError

    error: Exception = RDSClientError(code, message)
    return error


def _check_key(backend: Any, key_id: str | None) -> None:
    """Refuse what needs a key that is disabled or pending deletion."""
    from moto.rds.exceptions import KMSKeyNotAccessibleFault

    key = backend.kms.keys.get(key_id.rpartition("/")[2]) if key_id else None
    if key_id and key is not None and key.key_state != "Enabled":
        raise KMSKeyNotAccessibleFault(key_id)


def _start_what_was_stopped_for_a_week() -> None:
    from moto.moto_api._internal import urls
    from moto.rds.models import rds_backends

    def restart(request: Any, full_url: str, headers: Any) -> tuple[int, dict[str, str], str]:  # noqa: ARG001
        asked = json.loads(request.data)
        backend = rds_backends[asked["account"]][asked["region"]]
        instance = _instance(backend, asked["instance"])
        backend.start_db_instance(asked["instance"])
        _tell(instance, "restarting")
        return 200, {}, ""

    urls.url_paths[f"{{0}}{RESTART_PATH}"] = restart


# -- changes --------------------------------------------------------------------------------


def _refuse_changes_in_the_wrong_state() -> None:
    from moto.rds.exceptions import InvalidParameterCombination
    from moto.rds.models import RDSBackend

    modify = RDSBackend.modify_db_instance

    def modify_db_instance(self: Any, db_instance_identifier: str, db_kwargs: Any) -> Any:
        instance = _instance(self, db_instance_identifier)
        if instance.status != "available":
            raise _state_error("Database instance is not in available state.")
        if instance.manage_master_user_password:
            if db_kwargs.get("master_user_password"):
                raise InvalidParameterCombination(
                    "You can't specify MasterUserPassword for an instance with"
                    " ManageMasterUserPassword enabled."
                )
            # What is managed already stays in the secret it is in.
            if db_kwargs.get("manage_master_user_password"):
                db_kwargs["manage_master_user_password"] = None
        elif db_kwargs.get("rotate_master_user_password"):
            raise InvalidParameterCombination(
                "You can't rotate the master user password of an instance whose password is not"
                " managed by RDS in Secrets Manager."
            )
        return modify(self, db_instance_identifier, db_kwargs)

    setattr(RDSBackend, "modify_db_instance", modify_db_instance)  # noqa: B010


def _make_snapshots_of_what_is_available() -> None:
    from moto.rds.models import RDSBackend

    create, delete = RDSBackend.create_db_snapshot, RDSBackend.delete_db_snapshot
    copy_ = RDSBackend.copy_db_snapshot
    validate_key = RDSBackend._validate_kms_key  # noqa: SLF001 - what is corrected

    def create_db_snapshot(
        self: Any, db_instance_identifier: str, db_snapshot_identifier: str, **more: Any
    ) -> Any:
        instance = _instance(self, db_instance_identifier)
        automated = more.get("snapshot_type") == "automated"
        taken = db_snapshot_identifier in self.database_snapshots
        busy = instance.status != "available" or _unfinished_snapshots(self, instance)
        if busy and not automated and not taken:
            raise _state_error(
                f"Cannot create a snapshot because the database instance {db_instance_identifier}"
                " is not currently in the available state."
            )
        made = create(self, db_instance_identifier, db_snapshot_identifier, **more)
        if not automated:
            _enter(made, SNAPSHOT, "creating", "available")
        return made

    def delete_db_snapshot(self: Any, db_snapshot_identifier: str) -> Any:
        found = self.database_snapshots.get(db_snapshot_identifier)
        if found is not None:
            _check_available(found)
        return delete(self, db_snapshot_identifier)

    def copy_db_snapshot(
        self: Any,
        source_db_snapshot_identifier: str,
        target_db_snapshot_identifier: str,
        **more: Any,
    ) -> Any:
        source = self.get_db_snapshot(source_db_snapshot_identifier)
        _check_available(source)
        _check_key(self, source.kms_key_id)
        names = (source_db_snapshot_identifier, target_db_snapshot_identifier)
        made: Any = copy_(self, *names, **more)
        made.source_db_snapshot_identifier = source.arn
        _enter(made, SNAPSHOT, "creating", "available")
        return made

    def _validate_kms_key(self: Any, kms_key_id: str) -> str:
        arn: str = validate_key(self, kms_key_id)
        _check_key(self, arn)
        return arn

    for method in (
        create_db_snapshot,
        delete_db_snapshot,
        copy_db_snapshot,
        _validate_kms_key,
    ):
        setattr(RDSBackend, method.__name__, method)


def _check_available(snapshot: Any) -> None:
    _look(snapshot)
    if snapshot.status != "available":
        raise _state_error(
            f"The DB snapshot {snapshot.db_snapshot_identifier} is not in the available state:"
            f" it is {snapshot.status}.",
            "InvalidDBSnapshotState",
        )


def _create_and_delete() -> None:
    from moto.rds.exceptions import InvalidParameterCombination
    from moto.rds.models import RDSBackend

    create, delete = RDSBackend.create_db_instance, RDSBackend.delete_db_instance

    def create_db_instance(self: Any, db_kwargs: Any) -> Any:
        _check_key(self, db_kwargs.get("kms_key_id"))
        instance = create(self, db_kwargs)
        _enter(instance, INSTANCE, "creating", _NEXT["creating"])
        return instance

    def delete_db_instance(
        self: Any,
        db_instance_identifier: str,
        final_db_snapshot_identifier: str | None = None,
        skip_final_snapshot: bool | None = False,
        delete_automated_backups: bool | None = True,
    ) -> Any:
        instance = _instance(self, db_instance_identifier)
        if instance.status == "deleting":
            raise _state_error(f"Instance {db_instance_identifier} is already being deleted.")
        if instance.is_replica and final_db_snapshot_identifier:
            raise InvalidParameterCombination(
                "FinalDBSnapshotIdentifier can not be specified when deleting a replica instance"
            )
        for name in instance.replicas:
            replica = self.databases[name]
            replica.is_replica, replica.source_db_instance_identifier = False, None
        gone = delete(
            self,
            db_instance_identifier,
            final_db_snapshot_identifier,
            skip_final_snapshot,
            delete_automated_backups,
        )
        self.databases[db_instance_identifier] = gone
        _enter(gone, INSTANCE, "deleting", _NEXT["deleting"])
        return gone

    setattr(RDSBackend, "create_db_instance", create_db_instance)  # noqa: B010
    setattr(RDSBackend, "delete_db_instance", delete_db_instance)  # noqa: B010


def _keep_replicas_apart() -> None:
    # moto's replica is its source once more, with its resource id and its password's secret.
    from moto.rds.models import RDSBackend

    original = RDSBackend.create_db_instance_read_replica

    def create_db_instance_read_replica(self: Any, db_kwargs: Any) -> Any:
        source = self.find_db_from_id(db_kwargs["source_db_instance_identifier"])
        _look(source)
        if source.status != "available":
            raise _state_error("Database instance is not in available state.")
        replica = original(self, db_kwargs)
        replica.dbi_resource_id = f"db-{uuid.uuid4().hex[:26].upper()}"
        replica.enabled_cloudwatch_logs_exports = []
        replica.manage_master_user_password = False
        replica.__dict__.pop("master_user_secret", None)
        _enter(replica, INSTANCE, "creating", _NEXT["creating"])
        return replica

    setattr(RDSBackend, "create_db_instance_read_replica", create_db_instance_read_replica)  # noqa: B010


# What a restored instance has only if the restore asks for it.
_NOT_RESTORED: Final[dict[str, Any]] = {
    "deletion_protection": False,
    "manage_master_user_password": False,
    "monitoring_interval": 0,
    "monitoring_role_arn": None,
    "multi_az": False,
    "performance_insights_enabled": False,
    "replicas": [],
}


def _restore() -> None:
    from moto.rds.models import RDSBackend

    from_snapshot = RDSBackend.restore_db_instance_from_db_snapshot
    to_point_in_time = RDSBackend.restore_db_instance_to_point_in_time

    def restore_db_instance_from_db_snapshot(
        self: Any, from_snapshot_id: str, overrides: dict[str, Any]
    ) -> Any:
        _refuse_a_managed_password(overrides)
        snapshot = self.get_db_snapshot(from_snapshot_id)
        _check_available(snapshot)
        _check_key(self, snapshot.kms_key_id)
        _forget(snapshot.database)
        made = from_snapshot(self, from_snapshot_id, overrides)
        _tell(made, "restoring", snapshot.db_snapshot_identifier)
        return made

    def restore_db_instance_to_point_in_time(
        self: Any, source_db_identifier: str, target_db_identifier: str, overrides: dict[str, Any]
    ) -> Any:
        _refuse_a_managed_password(overrides)
        source = _instance(self, source_db_identifier)
        _check_key(self, source.kms_key_id)
        like = copy.copy(source)
        _forget(like)
        self.databases[source_db_identifier] = like
        try:
            return to_point_in_time(self, source_db_identifier, target_db_identifier, overrides)
        finally:
            self.databases[source_db_identifier] = source

    setattr(  # noqa: B010
        RDSBackend, "restore_db_instance_from_db_snapshot", restore_db_instance_from_db_snapshot
    )
    setattr(  # noqa: B010
        RDSBackend, "restore_db_instance_to_point_in_time", restore_db_instance_to_point_in_time
    )


def _refuse_a_managed_password(overrides: Mapping[str, Any]) -> None:
    from moto.rds.exceptions import InvalidParameterCombination

    if overrides.get("manage_master_user_password"):
        raise InvalidParameterCombination(
            "ManageMasterUserPassword applies to a restore of RDS for Oracle only."
        )


def _forget(database: Any) -> None:
    """Take from what is restored from all that a restore does not bring along."""
    database.__dict__.update(_NOT_RESTORED)
    for name in ("master_user_secret", "sandbox_state"):
        database.__dict__.pop(name, None)
