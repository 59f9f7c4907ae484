"""Load balancers, their target groups, listeners and rules."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from infra.sandbox.engine.drivers.api import ApiError
from infra.sandbox.engine.drivers.row import AutoName, Call, Hook, Row, Scope, Tagging, Update
from infra.sandbox.engine.drivers.shapes import from_api
from infra.sandbox.engine.drivers.values import is_empty
from infra.sandbox.engine.wire import PropertyMap

NAME_LIMIT: Final = 32

TAGS: Final = Tagging(
    create="Tags",
    list=Call("describe_tags", {"ResourceArns": ["$id"]}, "TagDescriptions[0].Tags"),
    add=Call("add_tags", {"ResourceArns": ["$id"], "Tags": "$added"}),
    remove=Call("remove_tags", {"ResourceArns": ["$id"], "TagKeys": "$removed"}),
)


def _text(value: Any) -> str:
    """Write an attribute's value as the API has it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _like(value: str, sample: Any) -> Any:
    """Read an attribute's text as the type that its default has."""
    if isinstance(sample, bool):
        return value == "true"
    return int(value) if isinstance(sample, int) else value


def _attributes(scope: Scope) -> dict[str, str]:
    return {entry["Key"]: entry["Value"] for entry in scope.props["$live"]["$attributes"]}


def _attribute(key: str, default: Any) -> Hook:
    def read(scope: Scope) -> Any:
        value = _attributes(scope).get(key)
        return default if value is None else _like(value, default)

    return read


def _pairs(values: Mapping[str, Any]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": _text(value)} for key, value in values.items()]


# -- load balancers ---------------------------------------------------------------------------

# Property -> the attribute's key, and its value where nobody says.
BALANCER_ATTRIBUTES: Final[Mapping[str, tuple[str, Any]]] = {
    "clientKeepAlive": ("client_keep_alive.seconds", 3600),
    "desyncMitigationMode": ("routing.http.desync_mitigation_mode", "defensive"),
    "dropInvalidHeaderFields": ("routing.http.drop_invalid_header_fields.enabled", False),
    "enableDeletionProtection": ("deletion_protection.enabled", False),
    "enableHttp2": ("routing.http2.enabled", True),
    "enableTlsVersionAndCipherSuiteHeaders": (
        "routing.http.x_amzn_tls_version_and_cipher_suite.enabled",
        False,
    ),
    "enableWafFailOpen": ("waf.fail_open.enabled", False),
    "enableXffClientPort": ("routing.http.xff_client_port.enabled", False),
    "enableZonalShift": ("zonal_shift.config.enabled", False),
    "idleTimeout": ("idle_timeout.timeout_seconds", 60),
    "preserveHostHeader": ("routing.http.preserve_host_header.enabled", False),
    "xffHeaderProcessingMode": ("routing.http.xff_header_processing.mode", "append"),
}
LOGS: Final = {"accessLogs": "access_logs.s3", "connectionLogs": "connection_logs.s3"}


def _balancer_attributes(scope: Scope) -> None:
    """Write all attributes: what is not given takes its default."""
    props = scope.props
    values = {
        key: default if is_empty(props.get(name)) else props[name]
        for name, (key, default) in BALANCER_ATTRIBUTES.items()
    }
    for name, prefix in LOGS.items():
        block = props.get(name) or {}
        values[f"{prefix}.enabled"] = bool(block.get("enabled"))
        if block.get("enabled"):
            values[f"{prefix}.bucket"] = block["bucket"]
            values[f"{prefix}.prefix"] = block.get("prefix") or ""
    args = {"LoadBalancerArn": scope.id, "Attributes": _pairs(values)}
    scope.call("modify_load_balancer_attributes", args)


def _live_logs(name: str, prefix: str) -> Hook:
    def read(scope: Scope) -> PropertyMap | None:
        """Tell where logs go; where they are off, the rest of the block says nothing."""
        found, given = _attributes(scope), scope.props.get(name)
        if found.get(f"{prefix}.enabled") != "true":
            return {**given, "enabled": False} if given else None
        block: PropertyMap = {"bucket": found.get(f"{prefix}.bucket", ""), "enabled": True}
        if found.get(f"{prefix}.prefix"):
            block["prefix"] = found[f"{prefix}.prefix"]
        return block

    return read


def _scheme(scope: Scope) -> str:
    return "internal" if scope.props.get("internal") else "internet-facing"


LOAD_BALANCER: Final = Row(
    label="ELBv2 Load Balancer",
    service="elbv2",
    create=Call(
        "create_load_balancer",
        {
            "Name": "$name",
            "Scheme": _scheme,
            "Type": "$loadBalancerType",
            "Subnets": "$subnets",
            "SecurityGroups": "$securityGroups",
            "IpAddressType": "$ipAddressType",
        },
    ),
    id="out.LoadBalancers[0].LoadBalancerArn",
    read=Call("describe_load_balancers", {"LoadBalancerArns": ["$id"]}, "LoadBalancers[0]"),
    also={
        "$attributes": Call(
            "describe_load_balancer_attributes", {"LoadBalancerArn": "$id"}, "Attributes"
        )
    },
    pending="State.Code == 'provisioning'",
    delete=Call("delete_load_balancer", {"LoadBalancerArn": "$id"}),
    updates=(
        Update(
            ("subnets",),
            Call("set_subnets", {"LoadBalancerArn": "$id", "Subnets": "$subnets"}),
        ),
        Update(
            ("securityGroups",),
            Call(
                "set_security_groups",
                {"LoadBalancerArn": "$id", "SecurityGroups": "$securityGroups"},
            ),
        ),
        Update(
            ("ipAddressType",),
            Call(
                "set_ip_address_type",
                {"LoadBalancerArn": "$id", "IpAddressType": "$ipAddressType"},
            ),
        ),
        Update((*BALANCER_ATTRIBUTES, *LOGS), _balancer_attributes, after_create=True),
    ),
    forces=("name", "internal", "loadBalancerType"),
    required=("subnets",),
    names={"name": "LoadBalancerName", "loadBalancerType": "Type"},
    computed=("securityGroups",),
    defaults={
        **{name: default for name, (_, default) in BALANCER_ATTRIBUTES.items()},
        "internal": False,
        "ipAddressType": "ipv4",
        "loadBalancerType": "application",
    },
    allowed={"loadBalancerType": ("application", "network")},
    name=AutoName("name", limit=NAME_LIMIT),
    outputs=("arn", "arnSuffix", "dnsName", "vpcId", "zoneId"),
    reads={
        **{name: _attribute(key, value) for name, (key, value) in BALANCER_ATTRIBUTES.items()},
        **{name: _live_logs(name, prefix) for name, prefix in LOGS.items()},
        "arn": "live.LoadBalancerArn",
        "arnSuffix": lambda scope: scope.id.partition(":loadbalancer/")[2],
        "internal": "live.Scheme == 'internal'",
        "subnets": "live.AvailabilityZones[].SubnetId",
        "zoneId": "live.CanonicalHostedZoneId",
    },
    tags=TAGS,
    listing=Call(
        "describe_load_balancers",
        {"Names": ["$name"]},
        "LoadBalancers[].LoadBalancerArn",
        optional=True,
    ),
)

# -- target groups ----------------------------------------------------------------------------

TARGET_ATTRIBUTES: Final[Mapping[str, tuple[str, Any]]] = {
    "deregistrationDelay": ("deregistration_delay.timeout_seconds", 300),
    "loadBalancingAlgorithmType": ("load_balancing.algorithm.type", "round_robin"),
    "loadBalancingCrossZoneEnabled": (
        "load_balancing.cross_zone.enabled",
        "use_load_balancer_configuration",
    ),
    "slowStart": ("slow_start.duration_seconds", 0),
}
HEALTH_CHECK: Final = {
    "enabled": "HealthCheckEnabled",
    "healthyThreshold": "HealthyThresholdCount",
    "interval": "HealthCheckIntervalSeconds",
    "path": "HealthCheckPath",
    "port": "HealthCheckPort",
    "protocol": "HealthCheckProtocol",
    "timeout": "HealthCheckTimeoutSeconds",
    "unhealthyThreshold": "UnhealthyThresholdCount",
}
_WHOLE: Final = {"healthyThreshold", "interval", "timeout", "unhealthyThreshold"}
COOKIE_SECONDS: Final = 86400


def _health_check(scope: Scope) -> dict[str, Any]:
    """Give a health check's arguments, the same for creation and change."""
    block = scope.props.get("healthCheck") or {}
    args = {
        target: int(block[name]) if name in _WHOLE else block[name]
        for name, target in HEALTH_CHECK.items()
        if not is_empty(block.get(name))
    }
    if block.get("matcher"):
        args["Matcher"] = {"HttpCode": str(block["matcher"])}
    return args


def _create_target_group(scope: Scope) -> str:
    props = scope.props
    given = {
        "Protocol": props.get("protocol"),
        "ProtocolVersion": props.get("protocolVersion"),
        "VpcId": props.get("vpcId"),
        "TargetType": props.get("targetType"),
        "IpAddressType": props.get("ipAddressType"),
    }
    args = {key: value for key, value in given.items() if value}
    if props.get("port"):
        args["Port"] = int(props["port"])
    args.update(_health_check(scope), Name=props["name"], **props["$tags"])
    answer = scope.call("create_target_group", args)
    return str(answer["TargetGroups"][0]["TargetGroupArn"])


def _modify_target_group(scope: Scope) -> None:
    scope.call("modify_target_group", {"TargetGroupArn": scope.id, **_health_check(scope)})


def _target_attributes(scope: Scope) -> None:
    props = scope.props
    values = {
        key: default if is_empty(props.get(name)) else props[name]
        for name, (key, default) in TARGET_ATTRIBUTES.items()
    }
    sticky = props.get("stickiness") or {}
    values["stickiness.enabled"] = bool(sticky.get("enabled", bool(sticky)))
    if sticky:
        values["stickiness.type"] = sticky["type"]
        if sticky["type"] == "lb_cookie":
            duration = int(sticky.get("cookieDuration") or COOKIE_SECONDS)
            values["stickiness.lb_cookie.duration_seconds"] = duration
    args = {"TargetGroupArn": scope.id, "Attributes": _pairs(values)}
    scope.call("modify_target_group_attributes", args)


def _live_health_check(scope: Scope) -> PropertyMap:
    live = scope.props["$live"]
    block = {name: live.get(source) for name, source in HEALTH_CHECK.items()}
    block["matcher"] = (live.get("Matcher") or {}).get("HttpCode")
    return {name: value for name, value in block.items() if value is not None}


def _live_stickiness(scope: Scope) -> PropertyMap | None:
    """Tell of stickiness where it is on, or where the program speaks of it."""
    found = _attributes(scope)
    is_on = found.get("stickiness.enabled") == "true"
    if not is_on and is_empty(scope.props.get("stickiness")):
        return None
    block: PropertyMap = {"enabled": is_on, "type": found.get("stickiness.type", "lb_cookie")}
    if "stickiness.lb_cookie.duration_seconds" in found:
        block["cookieDuration"] = int(found["stickiness.lb_cookie.duration_seconds"])
    return block


TARGET_GROUP: Final = Row(
    label="ELBv2 Target Group",
    service="elbv2",
    create=_create_target_group,
    read=Call("describe_target_groups", {"TargetGroupArns": ["$id"]}, "TargetGroups[0]"),
    also={
        "$attributes": Call(
            "describe_target_group_attributes", {"TargetGroupArn": "$id"}, "Attributes"
        )
    },
    delete=Call("delete_target_group", {"TargetGroupArn": "$id"}),
    updates=(
        Update(("healthCheck",), _modify_target_group),
        Update((*TARGET_ATTRIBUTES, "stickiness"), _target_attributes, after_create=True),
    ),
    forces=("name", "port", "protocol", "protocolVersion", "vpcId", "targetType", "ipAddressType"),
    names={"name": "TargetGroupName"},
    computed=("healthCheck", "ipAddressType", "protocolVersion"),
    defaults={
        **{name: default for name, (_, default) in TARGET_ATTRIBUTES.items()},
        "targetType": "instance",
    },
    allowed={"targetType": ("instance", "ip")},
    name=AutoName("name", limit=NAME_LIMIT),
    outputs=("arn", "arnSuffix", "loadBalancerArns"),
    # Listeners and rules that come later lead to it.
    volatile=("loadBalancerArns",),
    reads={
        **{name: _attribute(key, value) for name, (key, value) in TARGET_ATTRIBUTES.items()},
        "arn": "live.TargetGroupArn",
        "arnSuffix": lambda scope: scope.id.rpartition(":")[2],
        "healthCheck": _live_health_check,
        "loadBalancerArns": lambda scope: list(scope.props["$live"].get("LoadBalancerArns") or []),
        "stickiness": _live_stickiness,
    },
    tags=TAGS,
    listing=Call(
        "describe_target_groups",
        {"Names": ["$name"]},
        "TargetGroups[].TargetGroupArn",
        optional=True,
    ),
)

# -- actions ----------------------------------------------------------------------------------

REDIRECT: Final = {
    "host": "Host",
    "path": "Path",
    "port": "Port",
    "protocol": "Protocol",
    "query": "Query",
    "statusCode": "StatusCode",
}
# What a redirect keeps where it does not say otherwise.
KEPT: Final = {
    "host": "#{host}",
    "path": "/#{path}",
    "port": "#{port}",
    "protocol": "#{protocol}",
    "query": "#{query}",
}


def _action(given: Mapping[str, Any], order: int) -> dict[str, Any]:
    """Turn an action into the API's."""
    kind = given["type"]
    result: dict[str, Any] = {"Type": kind, "Order": int(given.get("order") or order)}
    if kind == "forward" and given.get("targetGroupArn"):
        return {**result, "TargetGroupArn": given["targetGroupArn"]}
    if kind == "redirect" and given.get("redirect"):
        redirect = {**KEPT, **given["redirect"]}
        values = {REDIRECT[name]: str(value) for name, value in redirect.items()}
        return {**result, "RedirectConfig": values}
    if kind == "fixed-response" and given.get("fixedResponse"):
        response = given["fixedResponse"]
        values = {
            "ContentType": response["contentType"],
            "MessageBody": response.get("messageBody"),
            "StatusCode": response.get("statusCode"),
        }
        return {**result, "FixedResponseConfig": {k: str(v) for k, v in values.items() if v}}
    raise ApiError(
        f"The sandbox's engine makes actions that forward to one target group, redirect, or answer"
        f" by themselves, each with its block; it got one of type {kind!r} without."
        " Nothing was changed.",
        "UnsupportedAction",
    )


def _actions(given: Any) -> list[dict[str, Any]]:
    return [_action(action, order) for order, action in enumerate(given or [], 1)]


def _live_action(live: Mapping[str, Any]) -> PropertyMap:
    result: PropertyMap = {"type": live["Type"]}
    if live.get("Order"):
        result["order"] = int(live["Order"])
    if live.get("TargetGroupArn"):
        result["targetGroupArn"] = live["TargetGroupArn"]
    if live.get("RedirectConfig"):
        result["redirect"] = from_api(live["RedirectConfig"])
    if live.get("FixedResponseConfig"):
        result["fixedResponse"] = from_api(live["FixedResponseConfig"])
    return result


def _live_actions(key: str) -> Hook:
    return lambda scope: [_live_action(action) for action in scope.props["$live"].get(key) or []]


# -- listeners --------------------------------------------------------------------------------

ENCRYPTED: Final = ("HTTPS", "TLS")


def _listener_args(scope: Scope) -> dict[str, Any]:
    props = scope.props
    args: dict[str, Any] = {
        "Protocol": props.get("protocol"),
        "SslPolicy": props.get("sslPolicy") if props.get("protocol") in ENCRYPTED else None,
        "DefaultActions": _actions(props["defaultActions"]),
    }
    if props.get("port") is not None:
        args["Port"] = int(props["port"])
    if props.get("certificateArn"):
        args["Certificates"] = [{"CertificateArn": props["certificateArn"]}]
    return {key: value for key, value in args.items() if value is not None}


def _create_listener(scope: Scope) -> str:
    args = {"LoadBalancerArn": scope.props["loadBalancerArn"], **scope.props["$tags"]}
    answer = scope.call("create_listener", {**args, **_listener_args(scope)})
    return str(answer["Listeners"][0]["ListenerArn"])


def _modify_listener(scope: Scope) -> None:
    scope.call("modify_listener", {"ListenerArn": scope.id, **_listener_args(scope)})


def _if_encrypted(path: str) -> str:
    return f"(live.Protocol == 'HTTPS' || live.Protocol == 'TLS') && {path} || null"


LISTENER: Final = Row(
    label="ELBv2 Listener",
    service="elbv2",
    create=_create_listener,
    read=Call("describe_listeners", {"ListenerArns": ["$id"]}, "Listeners[0]"),
    delete=Call("delete_listener", {"ListenerArn": "$id"}),
    updates=(
        Update(
            ("port", "protocol", "sslPolicy", "certificateArn", "defaultActions"),
            _modify_listener,
        ),
    ),
    forces=("loadBalancerArn",),
    required=("loadBalancerArn", "defaultActions"),
    computed=("protocol", "sslPolicy"),
    ordered=("defaultActions",),
    outputs=("arn",),
    reads={
        "arn": "live.ListenerArn",
        "certificateArn": _if_encrypted("live.Certificates[0].CertificateArn"),
        "sslPolicy": _if_encrypted("live.SslPolicy"),
        "defaultActions": _live_actions("DefaultActions"),
    },
    tags=TAGS,
    listing=Call(
        "describe_listeners",
        {"LoadBalancerArn": "$loadBalancerArn"},
        "Listeners[].ListenerArn",
        optional=True,
    ),
)

# -- rules ------------------------------------------------------------------------------------

# Property of a condition -> its field, and where its values are.
CONDITIONS: Final = {
    "hostHeader": ("host-header", "HostHeaderConfig"),
    "pathPattern": ("path-pattern", "PathPatternConfig"),
    "httpRequestMethod": ("http-request-method", "HttpRequestMethodConfig"),
    "sourceIp": ("source-ip", "SourceIpConfig"),
}


def _condition(given: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for name, block in given.items():
        if is_empty(block):
            continue
        if name not in CONDITIONS or set(block) != {"values"}:
            raise ApiError(
                f"The sandbox's engine knows the conditions {', '.join(CONDITIONS)}, each with its"
                f" values; it got {name}. Nothing was changed.",
                "UnsupportedCondition",
            )
        field, config = CONDITIONS[name]
        yield {"Field": field, config: {"Values": list(block["values"])}}


def _rule_args(scope: Scope) -> dict[str, Any]:
    props = scope.props
    return {
        "Actions": _actions(props["actions"]),
        "Conditions": [part for given in props["conditions"] for part in _condition(given)],
    }


def _rules(scope: Scope, listener_arn: str) -> list[dict[str, Any]]:
    rules = scope.call("describe_rules", {"ListenerArn": listener_arn})["Rules"]
    return [rule for rule in rules if rule["Priority"] != "default"]


def _create_rule(scope: Scope) -> str:
    props = scope.props
    listener_arn = props["listenerArn"]
    priority = props.get("priority")
    if priority is None:
        taken = [int(rule["Priority"]) for rule in _rules(scope, listener_arn)]
        priority = max(taken, default=0) + 1
    args = {"ListenerArn": listener_arn, "Priority": int(priority), **props["$tags"]}
    answer = scope.call("create_rule", {**args, **_rule_args(scope)})
    return str(answer["Rules"][0]["RuleArn"])


def _set_priority(scope: Scope) -> None:
    entry = {"RuleArn": scope.id, "Priority": int(scope.props["priority"])}
    scope.call("set_rule_priorities", {"RulePriorities": [entry]})


def _live_conditions(scope: Scope) -> list[PropertyMap]:
    names = {field: (name, config) for name, (field, config) in CONDITIONS.items()}
    result: list[PropertyMap] = []
    for live in scope.props["$live"].get("Conditions") or []:
        name, config = names.get(live["Field"], (live["Field"], ""))
        values = (live.get(config) or {}).get("Values") or live.get("Values") or []
        result.append({name: {"values": list(values)}})
    return result


def _rule_listener(scope: Scope) -> str:
    """Give a rule's listener, which is in its ARN and nowhere else."""
    return scope.id.replace(":listener-rule/", ":listener/").rpartition("/")[0]


LISTENER_RULE: Final = Row(
    label="ELBv2 Listener Rule",
    service="elbv2",
    create=_create_rule,
    read=Call("describe_rules", {"RuleArns": ["$id"]}, "Rules[0]"),
    delete=Call("delete_rule", {"RuleArn": "$id"}),
    updates=(
        Update(("priority",), _set_priority),
        Update(
            ("actions", "conditions"),
            lambda scope: scope.call("modify_rule", {"RuleArn": scope.id, **_rule_args(scope)}),
        ),
    ),
    forces=("listenerArn",),
    required=("listenerArn", "actions", "conditions"),
    computed=("priority",),
    ordered=("actions",),
    outputs=("arn",),
    reads={
        "arn": "live.RuleArn",
        "listenerArn": _rule_listener,
        "priority": lambda scope: int(scope.props["$live"]["Priority"]),
        "actions": _live_actions("Actions"),
        "conditions": _live_conditions,
    },
    tags=TAGS,
    listing=Call(
        "describe_rules",
        {"ListenerArn": "$listenerArn"},
        "Rules[?Priority != 'default'].RuleArn",
        optional=True,
    ),
)

ROWS: Final[dict[str, Row]] = {
    "aws:lb/loadBalancer:LoadBalancer": LOAD_BALANCER,
    "aws:lb/targetGroup:TargetGroup": TARGET_GROUP,
    "aws:lb/listener:Listener": LISTENER,
    "aws:lb/listenerRule:ListenerRule": LISTENER_RULE,
}
