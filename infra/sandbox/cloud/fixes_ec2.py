"""Instances that take a moment to stop and start, and networks that are kept while used.

Between running and stopped an instance is ``stopping`` or ``pending`` for a number of describes:
one, unless moto's state manager is told otherwise for the model ``ec2::instance``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

MODEL: Final = "ec2::instance"
_CODES: Final = {"pending": 0, "running": 16, "terminated": 48, "stopping": 64, "stopped": 80}


def install() -> None:
    """Apply all corrections to the imported moto; once a process."""
    _stop_and_start_as_aws_does()
    _show_instances_as_they_become()
    _keep_networks_that_are_used()
    _say_which_interfaces_are_managed()
    _encrypt_snapshots_as_their_volumes()


def _set(instance: Any, state: str) -> None:
    instance._state.name, instance._state.code = state, _CODES[state]  # noqa: SLF001


def _pass_through(instance: Any, state: str) -> None:
    """Let an instance be in `state` before the one that moto has put it in."""
    from moto.moto_api._internal.managed_state_model import ManagedState

    final = instance.state
    instance.sandbox_state = ManagedState(MODEL, [(state, final)])
    _set(instance, state)


def _look(instance: Any, *, describe: bool = False) -> str:
    """Give an instance's state by now; `describe` counts as one describe."""
    state = getattr(instance, "sandbox_state", None)
    if state is not None and instance.state in ("pending", "stopping"):
        _set(instance, state.status)
        if describe:
            state.advance()
    return str(instance.state)


def _stop_and_start_as_aws_does() -> None:
    from moto.core.responses import ActionResult
    from moto.ec2.responses.instances import InstanceResponse

    def change(self: Any, verb: str) -> list[dict[str, Any]]:
        ids = self._get_param("InstanceIds", [])
        self.error_on_dryrun()
        instances = self.ec2_backend.get_multi_instances_by_id(ids)
        before = {instance.id: _look(instance) for instance in instances}
        wrong = {"stop": ("terminated",), "start": ("terminated", "stopping")}[verb]
        for instance in instances:
            _refuse(instance, verb, before[instance.id], wrong)
        idle = {"stop": ("stopped", "stopping"), "start": ("running", "pending")}[verb]
        moving = [instance.id for instance in instances if before[instance.id] not in idle]
        getattr(self.ec2_backend, f"{verb}_instances")(moving)
        for instance in instances:
            if instance.id in moving:
                _pass_through(instance, {"stop": "stopping", "start": "pending"}[verb])
        return [
            {
                "InstanceId": instance.id,
                "CurrentState": {"Code": _CODES[instance.state], "Name": instance.state},
                "PreviousState": {
                    "Code": _CODES[before[instance.id]],
                    "Name": before[instance.id],
                },
            }
            for instance in instances
        ]

    def stop_instances(self: Any) -> Any:
        return ActionResult({"StoppingInstances": change(self, "stop")})

    def start_instances(self: Any) -> Any:
        return ActionResult({"StartingInstances": change(self, "start")})

    setattr(InstanceResponse, "stop_instances", stop_instances)  # noqa: B010
    setattr(InstanceResponse, "start_instances", start_instances)  # noqa: B010


def _refuse(instance: Any, verb: str, state: str, wrong: Iterable[str]) -> None:
    from moto.ec2.exceptions import EC2ClientError

    if state in wrong:
        raise EC2ClientError(
            "IncorrectInstanceState",
            f"The instance '{instance.id}' is not in a state from which it can be"
            f" {'started' if verb == 'start' else 'stopped'}.",
        )
    if verb == "stop" and getattr(instance, "lifecycle", None) == "spot":
        raise EC2ClientError(
            "UnsupportedOperation",
            "You can't stop the Spot Instance"
            f" '{instance.id}' because it is associated with a one-time Spot Instance request.",
        )


def _show_instances_as_they_become() -> None:
    from moto.ec2.responses.instances import InstanceResponse
    from moto.moto_api import state_manager

    state_manager.register_default_transition(MODEL, {"progression": "manual", "times": 1})

    def observing(original: Any) -> Any:
        def describe(self: Any) -> Any:
            asked = self._get_param("InstanceIds", [])
            for reservation in list(self.ec2_backend.reservations.values()):
                for instance in reservation.instances:
                    if not asked or instance.id in asked:
                        _look(instance, describe=True)
            return original(self)

        return describe

    for name in ("describe_instances", "describe_instance_status"):
        setattr(InstanceResponse, name, observing(getattr(InstanceResponse, name)))


def _keep_networks_that_are_used() -> None:
    from moto.ec2.exceptions import DependencyViolationError
    from moto.ec2.models.security_groups import SecurityGroupBackend
    from moto.ec2.models.subnets import SubnetBackend

    delete_group, delete_subnet_ = (
        SecurityGroupBackend.delete_security_group,
        SubnetBackend.delete_subnet,
    )

    def delete_security_group(
        self: Any, name: str | None = None, group_id: str | None = None
    ) -> None:
        found = self.get_security_group_by_name_or_id(group_id or name)
        if found is not None and _uses_of_group(self, found):
            raise DependencyViolationError(f"resource {found.id} has a dependent object")
        delete_group(self, name, group_id)

    def delete_subnet(self: Any, subnet_id: str) -> Any:
        if any(eni.subnet.id == subnet_id for eni in list(self.enis.values())):
            raise DependencyViolationError(
                f"The subnet '{subnet_id}' has dependencies and cannot be deleted."
            )
        return delete_subnet_(self, subnet_id)

    setattr(SecurityGroupBackend, "delete_security_group", delete_security_group)  # noqa: B010
    setattr(SubnetBackend, "delete_subnet", delete_subnet)  # noqa: B010


def _say_which_interfaces_are_managed() -> None:
    """Tell the interfaces that AWS makes for gateways and endpoints from those of customers."""
    from moto.ec2.models.nat_gateways import NatGateway
    from moto.ec2.models.vpcs import VPCBackend

    make_gateway, create = NatGateway.__init__, VPCBackend.create_vpc_endpoint

    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807
        make_gateway(self, *args, **kwargs)
        self._eni.requester_managed, self._eni.interface_type = True, "nat_gateway"
        self._eni.description = f"Interface for NAT Gateway {self.id}"

    def create_vpc_endpoint(self: Any, *args: Any, **kwargs: Any) -> Any:
        made = create(self, *args, **kwargs)
        for id_ in made.network_interface_ids or ():
            eni = self.enis[id_]
            eni.requester_managed, eni.interface_type = True, "vpc_endpoint"
            eni.description = f"VPC Endpoint Interface {made.id}"
        return made

    setattr(NatGateway, "__init__", __init__)  # noqa: B010
    setattr(VPCBackend, "create_vpc_endpoint", create_vpc_endpoint)  # noqa: B010


def _encrypt_snapshots_as_their_volumes() -> None:
    from moto.ec2.models.elastic_block_store import EBSBackend

    create = EBSBackend.create_snapshot

    def create_snapshot(self: Any, volume_id: str, *args: Any, **kwargs: Any) -> Any:
        made = create(self, volume_id, *args, **kwargs)
        made.kms_key_id = self.get_volume(volume_id).kms_key_id
        return made

    setattr(EBSBackend, "create_snapshot", create_snapshot)  # noqa: B010


def _uses_of_group(ec2: Any, group: Any) -> bool:
    """Tell whether an interface is in a security group, or another group's rule names it."""
    if any(group.id in _ids(eni.group_set) for eni in list(ec2.enis.values())):
        return True
    others = [
        other
        for groups in list(ec2.groups.values())
        for other in list(groups.values())
        if other.id != group.id
    ]
    return any(
        rule.source_group.get("GroupId") == group.id
        for other in others
        for rule in [*other.ingress_rules, *other.egress_rules]
    )


def _ids(groups: Iterable[Any]) -> set[str]:
    return {group if isinstance(group, str) else group.id for group in groups}
