"""What a stack file means: one typed model, and every reason to refuse a file, all at once.

`parse` serves the program, the operators' commands and the tests. Nothing here reads a clock or
a network; `load` reads one file.
"""

from infra.settings.model import (
    Alarms,
    Backend,
    Budget,
    Database,
    Deployment,
    Eks,
    Generator,
    Group,
    GroupAccess,
    Kubernetes,
    KubernetesRole,
    KubernetesServiceAccount,
    LoadBalancer,
    NatMode,
    Network,
    NodeGroup,
    Parameter,
    ParameterAccess,
    ParameterStore,
    ServiceAccount,
    Settings,
    Taint,
    TrustedPrincipal,
    User,
    Waiver,
    Workload,
)
from infra.settings.parsing import check_fleet, ended_waivers, load, parse
from infra.settings.problems import SECTION, Problem, SettingsError
from infra.settings.reference import reference

__all__ = [
    "SECTION",
    "Alarms",
    "Backend",
    "Budget",
    "Database",
    "Deployment",
    "Eks",
    "Generator",
    "Group",
    "GroupAccess",
    "Kubernetes",
    "KubernetesRole",
    "KubernetesServiceAccount",
    "LoadBalancer",
    "NatMode",
    "Network",
    "NodeGroup",
    "Parameter",
    "ParameterAccess",
    "ParameterStore",
    "Problem",
    "ServiceAccount",
    "Settings",
    "SettingsError",
    "Taint",
    "TrustedPrincipal",
    "User",
    "Waiver",
    "Workload",
    "check_fleet",
    "ended_waivers",
    "load",
    "parse",
    "reference",
]
