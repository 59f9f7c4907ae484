"""The table: every aws type that the sandbox can make. A further service is a further module."""

from __future__ import annotations

from typing import Final

from infra.sandbox.engine.drivers.row import Row
from infra.sandbox.engine.drivers.rows import (
    cloudwatch,
    dynamodb,
    ec2_access,
    ec2_network,
    ec2_routes,
    ecr,
    eks,
    events,
    iam,
    kms,
    logs,
    s3,
    s3_replication,
    sns,
    ssm,
)

ROWS: Final[dict[str, Row]] = {
    type_: row
    for module in (
        cloudwatch,
        dynamodb,
        ec2_access,
        ec2_network,
        ec2_routes,
        ecr,
        eks,
        events,
        iam,
        kms,
        logs,
        s3,
        s3_replication,
        sns,
        ssm,
    )
    for type_, row in module.ROWS.items()
}
