"""MonthlyBudget: what the account may cost in a month, and who hears of it before it does."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pulumi import ComponentResource, Input, Output, ResourceOptions
from pulumi_aws.budgets.budget import Budget
from pulumi_aws.sns.topic import Topic
from pulumi_aws.sns.topic_policy import TopicPolicy

from components.iam_policies import Statement, topic_policy

SERVICE = "budgets.amazonaws.com"
FORECAST_PERCENT = 100
"""Told as soon as AWS expects the month to end above the limit."""


@dataclass(frozen=True, kw_only=True)
class MonthlyBudgetArgs:
    """A limit in US dollars, and whom to tell at which part of it."""

    account_id: str
    budget_name: str
    limit_usd: int
    alert_percents: Sequence[int]
    """Percent of the limit, of what was spent."""
    recipients: Sequence[str]
    """E-mail addresses; AWS asks for no confirmation."""
    topic_name: str
    """Topic of the same alerts, for machines to listen to."""
    key_arn: Input[str]
    """KMS key of the topic; its policy must admit `budgets.amazonaws.com`."""
    tags: Mapping[str, str]


class MonthlyBudget(ComponentResource):
    """A cost budget of the whole account, with mails and a topic."""

    topic_arn: Output[str]
    """Where alerts are published."""

    def __init__(
        self, name: str, args: MonthlyBudgetArgs, opts: ResourceOptions | None = None
    ) -> None:
        super().__init__("mono-repo:index:MonthlyBudget", name, {}, opts)
        child = ResourceOptions(parent=self)
        topic = Topic(
            name,
            name=args.topic_name,
            kms_master_key_id=args.key_arn,
            tags=args.tags,
            opts=child,
        )
        policy = TopicPolicy(
            name,
            arn=topic.arn,
            policy=topic.arn.apply(lambda arn: budget_topic_policy(arn, args.account_id)),
            opts=child,
        )
        alerts = [("ACTUAL", percent) for percent in sorted(args.alert_percents)]
        Budget(
            name,
            name=args.budget_name,
            budget_type="COST",
            time_unit="MONTHLY",
            limit_amount=str(args.limit_usd),
            limit_unit="USD",
            notifications=[
                {
                    "notification_type": kind,
                    "comparison_operator": "GREATER_THAN",
                    "threshold": percent,
                    "threshold_type": "PERCENTAGE",
                    "subscriber_email_addresses": sorted(args.recipients),
                    "subscriber_sns_topic_arns": [topic.arn],
                }
                for kind, percent in [*alerts, ("FORECASTED", FORECAST_PERCENT)]
            ],
            tags=args.tags,
            # Budgets refuses a topic that it may not publish to.
            opts=ResourceOptions(parent=self, depends_on=[policy]),
        )
        self.topic_arn = topic.arn
        self.register_outputs({"topic_arn": self.topic_arn})


def budget_topic_policy(topic_arn: str, account_id: str) -> str:
    """Return who may publish: AWS Budgets, for budgets of this account."""
    return topic_policy(
        topic_arn,
        Statement(
            sid="Budgets",
            actions=["sns:Publish"],
            resources=[topic_arn],
            principals={"Service": [SERVICE]},
            conditions={
                "StringEquals": {"aws:SourceAccount": account_id},
                "ArnLike": {"aws:SourceArn": f"arn:aws:budgets::{account_id}:*"},
            },
        ),
    )
