"""Sample inputs of the rds types."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from tests.sandbox.sample import NEW_TAGS, TAGS, Sample

SAMPLES: Final[Mapping[str, Sample]] = {
    "database-subnets": Sample(
        "aws:rds/subnetGroup:SubnetGroup",
        {
            "namePrefix": "sample-",
            "description": "Sample databases",
            "subnetIds": ["ref:subnet", "ref:subnet2"],
            "tags": TAGS,
        },
        {"subnetIds": ["ref:subnet"], "description": "Fewer of them", "tags": NEW_TAGS},
    ),
    "database-parameters": Sample(
        "aws:rds/parameterGroup:ParameterGroup",
        {
            "namePrefix": "sample-postgres17-",
            "family": "postgres17",
            "description": "Sample parameters",
            "parameters": [
                {"name": "rds.force_ssl", "value": "1", "applyMethod": "pending-reboot"},
                {"name": "log_statement", "value": "ddl"},
                {"name": "log_connections", "value": "1", "applyMethod": "immediate"},
            ],
            "tags": TAGS,
        },
        {
            "parameters": [
                {"name": "log_connections", "value": "1", "applyMethod": "immediate"},
                {"name": "log_statement", "value": "all", "applyMethod": "immediate"},
                {"name": "log_disconnections", "value": "1", "applyMethod": "immediate"},
            ],
            "tags": NEW_TAGS,
        },
    ),
    "database-parameters2": Sample(
        "aws:rds/parameterGroup:ParameterGroup",
        {"family": "postgres18", "parameters": [{"name": "log_statement", "value": "ddl"}]},
        {},
        absent=("parameters",),
    ),
    "database": Sample(
        "aws:rds/instance:Instance",
        {
            "identifier": "sample-database",
            "engine": "postgres",
            "engineVersion": "17",
            "engineLifecycleSupport": "open-source-rds-extended-support-disabled",
            "instanceClass": "db.t4g.medium",
            "storageType": "gp3",
            "allocatedStorage": 20,
            "maxAllocatedStorage": 100,
            "storageEncrypted": True,
            "kmsKeyId": "ref:key.arn",
            "dbName": "sample",
            "username": "sample_admin",
            "manageMasterUserPassword": True,
            "masterUserSecretKmsKeyId": "ref:key.arn",
            "iamDatabaseAuthenticationEnabled": True,
            "caCertIdentifier": "rds-ca-rsa2048-g1",
            "dbSubnetGroupName": "ref:database-subnets",
            "parameterGroupName": "ref:database-parameters",
            "vpcSecurityGroupIds": ["ref:group"],
            "port": 5432,
            "publiclyAccessible": False,
            "multiAz": False,
            "backupRetentionPeriod": 7,
            "backupWindow": "03:00-04:00",
            "maintenanceWindow": "sun:05:00-sun:06:00",
            "autoMinorVersionUpgrade": True,
            "allowMajorVersionUpgrade": True,
            "copyTagsToSnapshot": True,
            "deletionProtection": True,
            "enabledCloudwatchLogsExports": ["postgresql", "upgrade"],
            "monitoringInterval": 60,
            "monitoringRoleArn": "ref:role.arn",
            "performanceInsightsEnabled": True,
            "performanceInsightsRetentionPeriod": 7,
            "performanceInsightsKmsKeyId": "ref:key.arn",
            "skipFinalSnapshot": True,
            "tags": TAGS,
        },
        {
            "identifier": "sample-database-renamed",
            "engineVersion": "18",
            "parameterGroupName": "ref:database-parameters2",
            "instanceClass": "db.m7g.large",
            "allocatedStorage": 40,
            "maxAllocatedStorage": 0,
            "multiAz": True,
            "port": 5433,
            "backupRetentionPeriod": 35,
            "backupWindow": "02:00-03:00",
            "maintenanceWindow": "sat:05:00-sat:06:00",
            "deletionProtection": False,
            "copyTagsToSnapshot": False,
            "iamDatabaseAuthenticationEnabled": False,
            "enabledCloudwatchLogsExports": ["postgresql"],
            "monitoringInterval": 0,
            "performanceInsightsEnabled": False,
            "tags": NEW_TAGS,
        },
        absent=("performanceInsightsRetentionPeriod", "performanceInsightsKmsKeyId"),
        needs=("database-parameters2",),
    ),
}
