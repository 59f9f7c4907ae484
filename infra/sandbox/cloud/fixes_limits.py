"""What AWS tells before anything is made: quotas of every service that is used, dry runs.

The quotas are AWS's defaults, but for the vCPUs: AWS raises those with an account's use, and a new
account's five would hold no environment.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

QUOTAS: Final = {
    ("ec2", "L-0263D0A3"): ("EC2-VPC Elastic IPs", 5),
    ("ec2", "L-1216C47A"): (
        "Running On-Demand Standard (A, C, D, H, I, M, R, T, Z) instances",
        256,
    ),
    ("eks", "L-1194D53C"): ("Clusters", 100),
    ("eks", "L-6D54EA21"): ("Managed node groups per cluster", 30),
    ("eks", "L-BD136A63"): ("Nodes per managed node group", 450),
    ("elasticloadbalancing", "L-53DA6B97"): ("Application Load Balancers per Region", 50),
    ("rds", "L-7B6409FD"): ("DB instances", 40),
}
"""Service and quota → name and value, beyond what moto has."""


def install() -> None:
    """Apply all corrections to the imported moto; once a process."""
    _know_quotas_of_every_service()
    _try_without_doing()


def _know_quotas_of_every_service() -> None:
    from moto.servicequotas.models import ServiceQuotasBackend
    from moto.servicequotas.responses import ServiceQuotasResponse

    get = ServiceQuotasBackend.get_service_quota

    def get_service_quota(self: Any, service_code: str, quota_code: str) -> dict[str, Any]:
        known = QUOTAS.get((service_code, quota_code))
        if known is None:
            return dict(get(self, service_code, quota_code))
        name, value = known
        return {
            "ServiceCode": service_code,
            "QuotaCode": quota_code,
            "QuotaName": name,
            "Value": float(value),
            "Adjustable": True,
            "GlobalQuota": False,
        }

    def get_aws_default_service_quota(self: Any) -> str:
        asked = json.loads(self.body)
        quota = self.backend.get_service_quota(asked["ServiceCode"], asked["QuotaCode"])
        return json.dumps({"Quota": quota})

    _replace(ServiceQuotasBackend, get_service_quota)
    _replace(ServiceQuotasResponse, get_aws_default_service_quota)


def _try_without_doing() -> None:
    # moto does these whether or not it is asked to try only.
    from moto.ec2.responses import EC2Response

    for name in ("create_vpc", "create_launch_template_version"):
        setattr(EC2Response, name, _tried(getattr(EC2Response, name)))


def _tried(action: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def act(self: Any) -> Any:
        self.error_on_dryrun()
        return action(self)

    return act


def _replace(owner: type, method: Callable[..., Any]) -> None:
    """Put a method in the place of moto's own of that name."""
    setattr(owner, method.__name__, method)
