"""Every control of the baseline, by area."""

from __future__ import annotations

from typing import Final

from infra.policies import compute, data, identity, kubernetes, network, operated
from infra.policies.model import Control

CONTROLS: Final[dict[str, tuple[Control, ...]]] = {
    "Buckets, tables and images": data.STORAGE,
    "Databases, keys, secrets and parameters": data.PROTECTED,
    "Network": network.CONTROLS,
    "Load balancer": network.BALANCER,
    "Cluster and nodes": compute.CONTROLS,
    "Identities": identity.CONTROLS,
    "Logs": data.LOGS,
    "Inside the cluster": kubernetes.CONTROLS,
}
"""Area -> what is judged on the resources of the stacks."""
OPERATED: Final = operated.OPERATED
"""What no resource can show: it is a matter of how the account is run."""
