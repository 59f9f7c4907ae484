"""What operators read: who changed a parameter, pages as they are asked for, sizes within bounds.

The log group of a deleted cluster may come back too, if its control plane still has something to
write: so often as moto's state manager is told as ``times`` of the model ``eks::last-logs``.
"""

from __future__ import annotations

from typing import Any, Final

ALARMS_A_PAGE: Final = 50
PARAMETERS_A_PAGE: Final = 10
LAST_LOGS: Final = "eks::last-logs"


def install() -> None:
    """Apply all corrections to the imported moto; once a process."""
    _say_who_changed_a_parameter()
    _describe_as_many_parameters_as_asked_for()
    _describe_alarms_page_by_page()
    _keep_groups_within_their_sizes()
    _write_the_last_logs_of_clusters()


def _say_who_changed_a_parameter() -> None:
    from moto.ssm.models import Parameter
    from moto.ssm.responses import SimpleSystemManagerResponse as Response
    from moto.sts.models import sts_backends

    describe, put = Parameter.describe_response_object, Response.put_parameter

    def put_parameter(self: Any) -> Any:
        answer = put(self)
        sts = sts_backends[self.current_account]["aws"]
        _, caller, _ = sts.get_caller_identity(self.get_access_key(), self.region)
        self.ssm_backend.get_parameter(self._get_param("Name")).last_modified_user = caller
        return answer

    def describe_response_object(self: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
        told: dict[str, Any] = describe(self, *args, **kwargs)
        told["LastModifiedUser"] = getattr(self, "last_modified_user", told["LastModifiedUser"])
        return told

    setattr(Response, "put_parameter", put_parameter)  # noqa: B010
    setattr(Parameter, "describe_response_object", describe_response_object)  # noqa: B010


def _describe_as_many_parameters_as_asked_for() -> None:
    # moto gives ten at once, whatever it is asked for.
    from moto.core.responses import ActionResult
    from moto.ssm.responses import SimpleSystemManagerResponse as Response

    def describe_parameters(self: Any) -> Any:
        found = self.ssm_backend.describe_parameters(
            self._get_param("Filters"), self._get_param("ParameterFilters")
        )
        start = int(str(self._get_param("NextToken") or "0").strip())
        end = start + int(self._get_param("MaxResults") or PARAMETERS_A_PAGE)
        told = [parameter.describe_response_object(False) for parameter in found[start:end]]
        more = {"NextToken": str(end)} if end < len(found) else {}
        return ActionResult({"Parameters": told, **more})

    setattr(Response, "describe_parameters", describe_parameters)  # noqa: B010


def _describe_alarms_page_by_page() -> None:
    from moto.cloudwatch.responses import CloudWatchResponse

    original = CloudWatchResponse.describe_alarms

    def describe_alarms(self: Any) -> Any:
        answer: Any = original(self)
        # Unless they are asked for, alarms made of alarms are not told.
        kinds = [f"{kind}s" for kind in self._get_param("AlarmTypes") or ["MetricAlarm"]]
        found = sorted(
            ((alarm, kind) for kind in kinds for alarm in answer.result[kind]),
            key=lambda pair: str(pair[0].name),
        )
        start = int(self._get_param("NextToken") or 0)
        end = start + int(self._get_param("MaxRecords") or ALARMS_A_PAGE)
        page = found[start:end]
        for name in ("MetricAlarms", "CompositeAlarms"):
            answer.result[name] = [alarm for alarm, kind in page if kind == name]
        if end < len(found):
            answer.result["NextToken"] = str(end)
        return answer

    setattr(CloudWatchResponse, "describe_alarms", describe_alarms)  # noqa: B010
    # moto stores them like any alarm, and has no route to it.
    put = CloudWatchResponse.put_metric_alarm
    setattr(CloudWatchResponse, "put_composite_alarm", put)  # noqa: B010


def _keep_groups_within_their_sizes() -> None:
    from moto.autoscaling.exceptions import ValidationError
    from moto.autoscaling.responses import AutoScalingResponse

    original = AutoScalingResponse.set_desired_capacity

    def set_desired_capacity(self: Any) -> Any:
        wanted = self._get_int_param("DesiredCapacity")
        name = self._get_param("AutoScalingGroupName")
        group = self.autoscaling_backend.autoscaling_groups.get(name)
        if group is None:
            raise ValidationError(f"AutoScalingGroup name not found - AutoScalingGroup {name}")
        bounds = (("above max", group.max_size), ("below min", group.min_size))
        for (which, bound), outside in zip(
            bounds, (wanted > group.max_size, wanted < group.min_size), strict=True
        ):
            if outside:
                raise ValidationError(
                    f"New SetDesiredCapacity value {wanted} is {which} value {bound} for the"
                    " AutoScalingGroup."
                )
        return original(self)

    setattr(AutoScalingResponse, "set_desired_capacity", set_desired_capacity)  # noqa: B010


def _write_the_last_logs_of_clusters() -> None:
    """Make the log group again, without retention or tags, once it is deleted after the cluster."""
    from moto.eks.models import EKSBackend
    from moto.logs.models import LogsBackend, logs_backends
    from moto.moto_api import state_manager

    state_manager.register_default_transition(LAST_LOGS, {"progression": "manual", "times": 0})
    delete_cluster_, delete_group = EKSBackend.delete_cluster, LogsBackend.delete_log_group

    def delete_cluster(self: Any, name: str) -> Any:
        cluster = self.clusters.get(name)
        answer = delete_cluster_(self, name)
        if _logs_something(getattr(cluster, "logging", None)):
            logs = logs_backends[self.account_id][self.region_name]
            times = state_manager.get_transition(LAST_LOGS).get("times", 0)
            logs.__dict__.setdefault("sandbox_late", {})[f"/aws/eks/{name}/cluster"] = times
        return answer

    def delete_log_group(self: Any, log_group_name: str) -> None:
        delete_group(self, log_group_name)
        late = self.__dict__.get("sandbox_late", {})
        if late.get(log_group_name):
            late[log_group_name] -= 1
            self.create_log_group(log_group_name, {})

    setattr(EKSBackend, "delete_cluster", delete_cluster)  # noqa: B010
    setattr(LogsBackend, "delete_log_group", delete_log_group)  # noqa: B010


def _logs_something(logging: Any) -> bool:
    entries = (logging or {}).get("clusterLogging") or []
    return any(entry.get("enabled") and entry.get("types") for entry in entries)
