"""The table: every aws type that the sandbox can make. A further service is a further module."""

from __future__ import annotations

from typing import Final

from infra.sandbox.engine.drivers.row import Row
from infra.sandbox.engine.drivers.rows import (
    account,
    autoscaling,
    budgets,
    cloudtrail,
    cloudwatch,
    dynamodb,
    ec2_access,
    ec2_network,
    ec2_routes,
    ec2_templates,
    ecr,
    eks,
    eks_access,
    eks_nodes,
    elbv2,
    events,
    iam,
    iam_oidc,
    iam_people,
    kms,
    logs,
    rds,
    route53,
    s3,
    s3_replication,
    secretsmanager,
    sns,
    ssm,
    stepfunctions,
)

ROWS: Final[dict[str, Row]] = {
    type_: row
    for module in (
        account,
        autoscaling,
        budgets,
        cloudtrail,
        cloudwatch,
        dynamodb,
        ec2_access,
        ec2_network,
        ec2_routes,
        ec2_templates,
        ecr,
        eks,
        eks_access,
        eks_nodes,
        elbv2,
        events,
        iam,
        iam_oidc,
        iam_people,
        kms,
        logs,
        rds,
        route53,
        s3,
        s3_replication,
        secretsmanager,
        sns,
        ssm,
        stepfunctions,
    )
    for type_, row in module.ROWS.items()
}
