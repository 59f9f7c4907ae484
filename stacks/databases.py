"""The databases of an environment: from its settings to what the component takes. Pure."""

from __future__ import annotations

from components.rds import Database
from infra import naming
from infra.settings import Settings


def databases(settings: Settings) -> list[Database]:
    """Return the databases; a teardown's settings take their protection off."""
    stamp = settings.final_snapshot_stamp
    return [
        Database(
            name=database.name,
            identifier=database.identifier,
            engine_version=database.engine_version,
            instance_class=database.instance_class,
            storage_gb=database.storage_gb,
            max_storage_gb=database.max_storage_gb,
            multi_az=database.multi_az,
            backup_retention_days=database.backup_retention_days,
            backup_window=database.backup_window,
            maintenance_window=database.maintenance_window,
            deletion_protection=database.deletion_protection,
            database_name=database.database_name,
            username=database.username,
            port=database.port,
            performance_insights_days=database.performance_insights_days,
            monitoring_interval_seconds=database.monitoring_interval_seconds,
            snapshot_identifier=database.snapshot_identifier,
            import_identifier=database.import_identifier,
            final_snapshot_identifier=(
                naming.database_snapshot(database.identifier, stamp) if stamp else None
            ),
        )
        for database in settings.databases
    ]


def stoppable(settings: Settings) -> list[str]:
    """Return the names of the databases that an emergency stop stops."""
    return [database.name for database in settings.databases if database.stop_on_emergency]
