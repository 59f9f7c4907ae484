"""SNS topics, their policies and subscriptions."""

from __future__ import annotations

import json
from typing import Any, Final

from infra.sandbox.engine.drivers.row import AutoName, Call, Row, Scope, Tagging, Update

ATTRIBUTES: Final = {
    "displayName": "DisplayName",
    "kmsMasterKeyId": "KmsMasterKeyId",
    "policy": "Policy",
    "deliveryPolicy": "DeliveryPolicy",
    "contentBasedDeduplication": "ContentBasedDeduplication",
    "signatureVersion": "SignatureVersion",
    "tracingConfig": "TracingConfig",
}
_NUMBERS: Final = {"signatureVersion"}
_FLAGS: Final = {"contentBasedDeduplication", "fifoTopic"}


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _create(scope: Scope) -> str:
    props = scope.props
    attributes = {
        ATTRIBUTES[key]: _text(props[key]) for key in ATTRIBUTES if props.get(key) is not None
    }
    if props.get("fifoTopic"):
        attributes["FifoTopic"] = "true"
    args: dict[str, Any] = {"Name": props["name"]}
    if attributes:
        args["Attributes"] = attributes
    return str(scope.call("create_topic", args)["TopicArn"])


def _topic_arn(scope: Scope) -> str:
    return f"arn:aws:sns:{scope.region}:{scope.account}:{scope.props['name']}"


def _set_attribute(key: str) -> Update:
    def run(scope: Scope) -> None:
        value = scope.props.get(key)
        args = {
            "TopicArn": scope.id,
            "AttributeName": ATTRIBUTES[key],
            "AttributeValue": "" if value is None else _text(value),
        }
        scope.call("set_topic_attributes", args)

    return Update((key,), run)


def _attribute(key: str, api_name: str) -> Any:
    def read(scope: Scope) -> Any:
        value = scope.props["$live"].get(api_name)
        if value in (None, ""):
            return None
        if key in _NUMBERS:
            return int(value)
        return value == "true" if key in _FLAGS else value

    return read


TOPIC: Final = Row(
    label="SNS Topic",
    service="sns",
    create=_create,
    id=_topic_arn,
    read=Call("get_topic_attributes", {"TopicArn": "$id"}, "Attributes"),
    delete=Call("delete_topic", {"TopicArn": "$id"}),
    updates=tuple(_set_attribute(key) for key in ATTRIBUTES),
    forces=("name", "namePrefix", "fifoTopic"),
    computed=("policy", "namePrefix", "signatureVersion", "tracingConfig"),
    defaults={"fifoTopic": False, "contentBasedDeduplication": False},
    json=("policy", "deliveryPolicy"),
    name=AutoName("name", limit=256),
    name_prefix="namePrefix",
    outputs=("arn", "owner"),
    reads={
        "arn": "id",
        "name": lambda scope: scope.id.rpartition(":")[2],
        **{key: _attribute(key, name) for key, name in ATTRIBUTES.items()},
        "fifoTopic": lambda scope: scope.props["$live"].get("FifoTopic") == "true",
    },
    tags=Tagging(
        list=Call("list_tags_for_resource", {"ResourceArn": "$id"}, "Tags"),
        add=Call("tag_resource", {"ResourceArn": "$id", "Tags": "$added"}),
        remove=Call("untag_resource", {"ResourceArn": "$id", "TagKeys": "$removed"}),
    ),
)


def _put_policy(scope: Scope) -> str:
    args = {
        "TopicArn": scope.props["arn"],
        "AttributeName": "Policy",
        "AttributeValue": scope.props["policy"],
    }
    scope.call("set_topic_attributes", args)
    return str(scope.props["arn"])


def _default_policy(scope: Scope) -> None:
    """Give the topic back the policy that AWS makes it with: its own account may use it."""
    owner = scope.id.split(":")[4]
    actions = [
        "SNS:GetTopicAttributes",
        "SNS:SetTopicAttributes",
        "SNS:AddPermission",
        "SNS:RemovePermission",
        "SNS:DeleteTopic",
        "SNS:Subscribe",
        "SNS:ListSubscriptionsByTopic",
        "SNS:Publish",
    ]
    statement = {
        "Sid": "__default_statement_ID",
        "Effect": "Allow",
        "Principal": {"AWS": "*"},
        "Action": actions,
        "Resource": scope.id,
        "Condition": {"StringEquals": {"AWS:SourceOwner": owner}},
    }
    policy = {"Version": "2008-10-17", "Id": "__default_policy_ID", "Statement": [statement]}
    args = {"TopicArn": scope.id, "AttributeName": "Policy", "AttributeValue": json.dumps(policy)}
    scope.call("set_topic_attributes", args)


TOPIC_POLICY: Final = Row(
    label="SNS Topic Policy",
    service="sns",
    create=_put_policy,
    id=lambda scope: str(scope.props["arn"]),
    read=Call("get_topic_attributes", {"TopicArn": "$id"}, "Attributes"),
    gone="Policy && contains(Policy, '__default_policy_ID')",
    delete=_default_policy,
    updates=(Update(("policy",), _put_policy),),
    forces=("arn",),
    json=("policy",),
    required=("arn", "policy"),
    outputs=("owner",),
    reads={"arn": "id", "policy": "live.Policy"},
)

SUBSCRIPTION_ATTRIBUTES: Final = {
    "deliveryPolicy": "DeliveryPolicy",
    "filterPolicy": "FilterPolicy",
    "filterPolicyScope": "FilterPolicyScope",
    "rawMessageDelivery": "RawMessageDelivery",
    "redrivePolicy": "RedrivePolicy",
    "subscriptionRoleArn": "SubscriptionRoleArn",
}


def _subscribe(scope: Scope) -> str:
    props = scope.props
    attributes = {
        name: _text(props[key])
        for key, name in SUBSCRIPTION_ATTRIBUTES.items()
        if props.get(key) is not None
    }
    args: dict[str, Any] = {
        "TopicArn": props["topic"],
        "Protocol": props["protocol"],
        "Endpoint": props["endpoint"],
        # Also one that its receiver has yet to confirm has an ARN.
        "ReturnSubscriptionArn": True,
    }
    if attributes:
        args["Attributes"] = attributes
    return str(scope.call("subscribe", args)["SubscriptionArn"])


def _set_subscription(key: str) -> Update:
    def run(scope: Scope) -> None:
        value = scope.props.get(key)
        empty = "false" if key == "rawMessageDelivery" else "{}"
        args = {
            "SubscriptionArn": scope.id,
            "AttributeName": SUBSCRIPTION_ATTRIBUTES[key],
            "AttributeValue": empty if value is None else _text(value),
        }
        scope.call("set_subscription_attributes", args)

    return Update((key,), run)


def _subscription_text(api_name: str) -> Any:
    def read(scope: Scope) -> str | None:
        value = scope.props["$live"].get(api_name)
        return None if value in (None, "", "{}") else str(value)

    return read


def _subscription_flag(api_name: str) -> Any:
    return lambda scope: scope.props["$live"].get(api_name) == "true"


TOPIC_SUBSCRIPTION: Final = Row(
    label="SNS Topic Subscription",
    service="sns",
    create=_subscribe,
    read=Call("get_subscription_attributes", {"SubscriptionArn": "$id"}, "Attributes"),
    delete=Call("unsubscribe", {"SubscriptionArn": "$id"}),
    updates=tuple(_set_subscription(key) for key in SUBSCRIPTION_ATTRIBUTES),
    forces=("topic", "protocol", "endpoint"),
    local=("confirmationTimeoutInMinutes", "endpointAutoConfirms"),
    names={"topic": "TopicArn"},
    computed=("filterPolicyScope",),
    defaults={
        "rawMessageDelivery": False,
        "confirmationTimeoutInMinutes": 1,
        "endpointAutoConfirms": False,
    },
    json=("deliveryPolicy", "filterPolicy", "redrivePolicy"),
    required=("topic", "protocol", "endpoint"),
    outputs=("arn", "ownerId", "pendingConfirmation", "confirmationWasAuthenticated"),
    reads={
        "arn": "id",
        "ownerId": "live.Owner",
        **{key: _subscription_text(name) for key, name in SUBSCRIPTION_ATTRIBUTES.items()},
        "rawMessageDelivery": _subscription_flag("RawMessageDelivery"),
        "pendingConfirmation": _subscription_flag("PendingConfirmation"),
        "confirmationWasAuthenticated": _subscription_flag("ConfirmationWasAuthenticated"),
    },
    listing=Call(
        "list_subscriptions_by_topic", {"TopicArn": "$topic"}, "Subscriptions[].SubscriptionArn"
    ),
)

ROWS: Final[dict[str, Row]] = {
    "aws:sns/topic:Topic": TOPIC,
    "aws:sns/topicPolicy:TopicPolicy": TOPIC_POLICY,
    "aws:sns/topicSubscription:TopicSubscription": TOPIC_SUBSCRIPTION,
}
