"""Auto Scaling: what a group registers its instances with."""

from __future__ import annotations

from typing import Any, Final, Never

from infra.sandbox.engine.drivers.row import Row, Scope
from infra.sandbox.engine.provider import ProviderError

# Property -> the group's list, the operations on it, and their argument.
TARGETS: Final = {
    "lbTargetGroupArn": ("TargetGroupARNs", "load_balancer_target_groups", "TargetGroupARNs"),
    "elb": ("LoadBalancerNames", "load_balancers", "LoadBalancerNames"),
}


def _target(scope: Scope) -> tuple[str, str]:
    """Give which of the two kinds is attached, and its name or ARN."""
    name = "lbTargetGroupArn" if scope.props.get("lbTargetGroupArn") else "elb"
    return name, str(scope.props[name])


def _change(scope: Scope, verb: str) -> None:
    name, target = _target(scope)
    _, operation, argument = TARGETS[name]
    args = {"AutoScalingGroupName": scope.props["autoscalingGroupName"], argument: [target]}
    scope.call(f"{verb}_{operation}", args)


def _id(scope: Scope) -> str:
    """Name an attachment by what it joins, since it has no id at AWS."""
    _, target = _target(scope)
    return f"{scope.props['autoscalingGroupName']}-{target.rpartition('/')[2]}"


def _attach(scope: Scope) -> str:
    _change(scope, "attach")
    return _id(scope)


def _read(scope: Scope) -> dict[str, Any] | None:
    names = [scope.props["autoscalingGroupName"]]
    groups = scope.call("describe_auto_scaling_groups", {"AutoScalingGroupNames": names})
    name, target = _target(scope)
    attached = {
        entry for group in groups["AutoScalingGroups"] for entry in group.get(TARGETS[name][0], [])
    }
    if target not in attached:
        return None
    return {"autoscalingGroupName": names[0], name: target}


def _detach(scope: Scope) -> None:
    """Detach, unless the group or its attachment is gone, of which AWS makes an error."""
    if _read(scope) is not None:
        _change(scope, "detach")


def _imported(id_: str) -> Never:
    raise ProviderError(
        f"Auto Scaling Attachment ({id_}) cannot be imported: it has no id at AWS. Nothing was"
        " changed. Leave the import out: attaching what is attached already changes nothing."
    )


ATTACHMENT: Final = Row(
    label="Auto Scaling Attachment",
    service="autoscaling",
    create=_attach,
    id=_id,
    read=_read,
    delete=_detach,
    forces=("autoscalingGroupName", "lbTargetGroupArn", "elb"),
    required=("autoscalingGroupName",),
    imported=_imported,
)

ROWS: Final[dict[str, Row]] = {"aws:autoscaling/attachment:Attachment": ATTACHMENT}
