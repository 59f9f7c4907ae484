"""AlarmTopic: where alarms are published, encrypted, and the people who get them by e-mail."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pulumi import ComponentResource, Input, Output, ResourceOptions
from pulumi_aws.sns.topic import Topic
from pulumi_aws.sns.topic_policy import TopicPolicy
from pulumi_aws.sns.topic_subscription import TopicSubscription

from components.iam_policies import Statement, topic_policy


@dataclass(frozen=True, kw_only=True)
class AlarmTopicArgs:
    """Who is told."""

    account_id: str
    topic_name: str
    recipients: Sequence[str]
    """E-mail addresses; each confirms its subscription once."""
    key_arn: Input[str]
    """KMS key; its policy must admit `cloudwatch.amazonaws.com`."""
    tags: Mapping[str, str]


class AlarmTopic(ComponentResource):
    """A topic that CloudWatch of this account may publish to."""

    arn: Output[str]
    """What an alarm names as its action."""

    def __init__(
        self, name: str, args: AlarmTopicArgs, opts: ResourceOptions | None = None
    ) -> None:
        super().__init__("mono-repo:index:AlarmTopic", name, {}, opts)
        child = ResourceOptions(parent=self)
        topic = Topic(
            name,
            name=args.topic_name,
            kms_master_key_id=args.key_arn,
            tags=args.tags,
            opts=child,
        )
        TopicPolicy(
            name,
            arn=topic.arn,
            policy=topic.arn.apply(lambda arn: alarm_topic_policy(arn, args.account_id)),
            opts=child,
        )
        for recipient in args.recipients:
            TopicSubscription(
                f"{name}-{recipient}",
                topic=topic.arn,
                protocol="email",
                endpoint=recipient,
                opts=child,
            )
        self.arn = topic.arn
        self.register_outputs({"arn": self.arn})


def alarm_topic_policy(topic_arn: str, account_id: str) -> str:
    """Return who may publish: CloudWatch, for alarms of this account."""
    return topic_policy(
        topic_arn,
        Statement(
            sid="Alarms",
            actions=["sns:Publish"],
            resources=[topic_arn],
            principals={"Service": ["cloudwatch.amazonaws.com"]},
            conditions={"StringEquals": {"aws:SourceAccount": account_id}},
        ),
    )
