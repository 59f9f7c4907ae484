"""One object of each kind, with a change that is made in place and an edit made by hand."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]

NAMESPACE = "samples"


@dataclass(frozen=True, kw_only=True)
class Sample:
    """An object, and what becomes of it."""

    type: str
    path: str
    """Of the object on the API server."""
    inputs: Json
    changed: tuple[str, Any]
    """A property's path (keys joined by dots) and its new value."""
    removed: str
    """A property that the program stops to say."""
    edited: Json
    """What somebody merges into the object by hand."""
    finds: str
    """The path at which the edit is found."""
    replaced: dict[str, Any] = field(default_factory=dict)
    """Properties whose change makes another object, with new values."""

    def update(self, path: str, value: Any) -> Json:
        """Give the inputs with a property changed."""
        inputs = copy.deepcopy(self.inputs)
        *parents, last = path.split(".")
        place = inputs
        for key in parents:
            place = place[key]
        if value is None:
            del place[last]
        else:
            place[last] = value
        return inputs


def _meta(name: str, namespace: str | None = NAMESPACE) -> Json:
    inside = {"namespace": namespace} if namespace else {}
    labels = {"app": "api-service", "team": "sre"}
    return {"metadata": {"name": name, "labels": labels, **inside}}


def _rules(*verbs: str) -> list[Json]:
    return [{"apiGroups": [""], "resources": ["pods", "pods/log"], "verbs": list(verbs)}]


def _pod() -> Json:
    container = {
        "name": "api",
        "image": "example.com/api-service:1.0",
        "resources": {"limits": {"cpu": "0.5", "memory": "1024Mi"}, "requests": {"cpu": "100m"}},
        "ports": [{"containerPort": 8080}],
        "securityContext": {"allowPrivilegeEscalation": False, "runAsNonRoot": True},
    }
    labels = {"app": "api-service"}
    return {"metadata": {"labels": labels}, "spec": {"containers": [container]}}


_ROLE_REF = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"}
_OTHER_ROLE = {**_ROLE_REF, "name": "edit"}
_SUBJECTS = [{"kind": "Group", "name": "sre", "apiGroup": "rbac.authorization.k8s.io"}]
_OTHER_SUBJECTS = [{**_SUBJECTS[0], "name": "security"}]
_SELECTOR = {"matchLabels": {"app": "api-service"}}
_RBAC = "/apis/rbac.authorization.k8s.io/v1"
_IN = f"namespaces/{NAMESPACE}"

SAMPLES = {
    "namespace": Sample(
        type="kubernetes:core/v1:Namespace",
        path="/api/v1/namespaces/sample-namespace",
        inputs=_meta("sample-namespace", None),
        changed=("metadata.labels.app", "web-app"),
        removed="metadata.labels.team",
        edited={"metadata": {"labels": {"app": "by-hand"}}},
        finds="metadata.labels.app",
        replaced={"metadata.name": "other-namespace"},
    ),
    "service-account": Sample(
        type="kubernetes:core/v1:ServiceAccount",
        path=f"/api/v1/{_IN}/serviceaccounts/sample",
        inputs={**_meta("sample"), "automountServiceAccountToken": False},
        changed=("automountServiceAccountToken", True),
        removed="automountServiceAccountToken",
        edited={"automountServiceAccountToken": True},
        finds="automountServiceAccountToken",
        replaced={"metadata.name": "other"},
    ),
    "limit-range": Sample(
        type="kubernetes:core/v1:LimitRange",
        path=f"/api/v1/{_IN}/limitranges/sample",
        inputs={
            **_meta("sample"),
            "spec": {
                "limits": [
                    {"type": "Container", "default": {"cpu": "1000m"}, "max": {"memory": "1024Mi"}}
                ]
            },
        },
        changed=("spec.limits", [{"type": "Container", "default": {"cpu": "2"}}]),
        removed="metadata.labels.team",
        edited={"spec": {"limits": [{"type": "Container", "default": {"cpu": "8"}}]}},
        finds="spec.limits[0].default.cpu",
    ),
    "resource-quota": Sample(
        type="kubernetes:core/v1:ResourceQuota",
        path=f"/api/v1/{_IN}/resourcequotas/sample",
        inputs={
            **_meta("sample"),
            "spec": {"hard": {"pods": "20", "requests.cpu": "4000m", "requests.memory": "8192Mi"}},
        },
        changed=("spec.hard", {"pods": "30", "requests.memory": "8Gi"}),
        removed="spec.hard",
        edited={"spec": {"hard": {"pods": "200"}}},
        finds="spec.hard.pods",
        replaced={"spec.scopes": ["NotTerminating"]},
    ),
    "config-map": Sample(
        type="kubernetes:core/v1:ConfigMap",
        path=f"/api/v1/{_IN}/configmaps/sample",
        inputs={**_meta("sample"), "data": {"LOG_LEVEL": "info"}},
        changed=("metadata.labels.app", "web-app"),
        removed="metadata.labels.team",
        edited={"data": {"LOG_LEVEL": "debug"}},
        finds="data.LOG_LEVEL",
        replaced={"data.LOG_LEVEL": "warning"},
    ),
    "secret": Sample(
        type="kubernetes:core/v1:Secret",
        path=f"/api/v1/{_IN}/secrets/sample",
        inputs={**_meta("sample"), "stringData": {"token": "open sesame"}, "type": "Opaque"},
        changed=("metadata.labels.app", "web-app"),
        removed="metadata.labels.team",
        edited={"stringData": {"token": "by hand"}},
        finds="stringData.token",
        replaced={"stringData.token": "other", "type": "example.com/other"},
    ),
    "service": Sample(
        type="kubernetes:core/v1:Service",
        path=f"/api/v1/{_IN}/services/sample",
        inputs={
            **_meta("sample"),
            "spec": {
                "type": "NodePort",
                "externalTrafficPolicy": "Cluster",
                "selector": {"app": "api-service"},
                "ports": [{"port": 80, "targetPort": 8080, "nodePort": 30080}],
            },
        },
        changed=("spec.selector", {"app": "web-app"}),
        removed="metadata.labels.team",
        edited={"spec": {"selector": {"app": "by-hand"}}},
        finds="spec.selector.app",
        replaced={"spec.clusterIP": "None"},
    ),
    "network-policy": Sample(
        type="kubernetes:networking.k8s.io/v1:NetworkPolicy",
        path=f"/apis/networking.k8s.io/v1/{_IN}/networkpolicies/sample",
        inputs={
            **_meta("sample"),
            "spec": {
                "podSelector": {},
                "policyTypes": ["Ingress", "Egress"],
                "ingress": [],
                "egress": [{"ports": [{"port": 53, "protocol": "UDP"}, {"port": 53}]}],
            },
        },
        changed=("spec.egress", [{"ports": [{"port": 443, "protocol": "TCP"}]}]),
        removed="spec.egress",
        edited={
            "spec": {"podSelector": {"matchLabels": {"by": "hand"}}, "policyTypes": ["Egress"]}
        },
        finds="spec.policyTypes[0]",
    ),
    "role": Sample(
        type="kubernetes:rbac.authorization.k8s.io/v1:Role",
        path=f"{_RBAC}/{_IN}/roles/sample",
        inputs={**_meta("sample"), "rules": _rules("get", "list")},
        changed=("rules", _rules("get", "list", "watch")),
        removed="metadata.labels.team",
        edited={"rules": _rules("*")},
        finds="rules[0].verbs[0]",
    ),
    "role-binding": Sample(
        type="kubernetes:rbac.authorization.k8s.io/v1:RoleBinding",
        path=f"{_RBAC}/{_IN}/rolebindings/sample",
        inputs={**_meta("sample"), "roleRef": _ROLE_REF, "subjects": _SUBJECTS},
        changed=("subjects", _OTHER_SUBJECTS),
        removed="metadata.labels.team",
        edited={"subjects": [{**_SUBJECTS[0], "name": "everybody"}]},
        finds="subjects[0].name",
        replaced={"roleRef": _OTHER_ROLE},
    ),
    "cluster-role": Sample(
        type="kubernetes:rbac.authorization.k8s.io/v1:ClusterRole",
        path=f"{_RBAC}/clusterroles/sample",
        inputs={**_meta("sample", None), "rules": _rules("get")},
        changed=("rules", _rules("get", "list")),
        removed="metadata.labels.team",
        edited={"rules": _rules("*")},
        finds="rules[0].verbs[0]",
    ),
    "cluster-role-binding": Sample(
        type="kubernetes:rbac.authorization.k8s.io/v1:ClusterRoleBinding",
        path=f"{_RBAC}/clusterrolebindings/sample",
        inputs={**_meta("sample", None), "roleRef": _ROLE_REF, "subjects": _SUBJECTS},
        changed=("subjects", _OTHER_SUBJECTS),
        removed="metadata.labels.team",
        edited={"subjects": [{**_SUBJECTS[0], "name": "everybody"}]},
        finds="subjects[0].name",
        replaced={"roleRef": _OTHER_ROLE},
    ),
    "deployment": Sample(
        type="kubernetes:apps/v1:Deployment",
        path=f"/apis/apps/v1/{_IN}/deployments/sample",
        inputs={
            **_meta("sample"),
            "spec": {
                "replicas": 2,
                "selector": _SELECTOR,
                "minReadySeconds": 0,
                "template": _pod(),
            },
        },
        changed=("spec.replicas", 3),
        removed="spec.replicas",
        edited={"spec": {"replicas": 9}},
        finds="spec.replicas",
        replaced={"spec.selector.matchLabels.app": "web-app"},
    ),
    "pod-disruption-budget": Sample(
        type="kubernetes:policy/v1:PodDisruptionBudget",
        path=f"/apis/policy/v1/{_IN}/poddisruptionbudgets/sample",
        inputs={**_meta("sample"), "spec": {"minAvailable": 1, "selector": _SELECTOR}},
        changed=("spec.minAvailable", "50%"),
        removed="spec.minAvailable",
        edited={"spec": {"minAvailable": 0}},
        finds="spec.minAvailable",
    ),
    "horizontal-pod-autoscaler": Sample(
        type="kubernetes:autoscaling/v2:HorizontalPodAutoscaler",
        path=f"/apis/autoscaling/v2/{_IN}/horizontalpodautoscalers/sample",
        inputs={
            **_meta("sample"),
            "spec": {
                "minReplicas": 2,
                "maxReplicas": 4,
                "scaleTargetRef": {
                    "apiVersion": "apps/v1",
                    "kind": "Deployment",
                    "name": "api-service",
                },
            },
        },
        changed=("spec.maxReplicas", 6),
        removed="spec.minReplicas",
        edited={"spec": {"maxReplicas": 40}},
        finds="spec.maxReplicas",
    ),
    "cron-job": Sample(
        type="kubernetes:batch/v1:CronJob",
        path=f"/apis/batch/v1/{_IN}/cronjobs/sample",
        inputs={
            **_meta("sample"),
            "spec": {
                "schedule": "0 3 * * *",
                "suspend": False,
                "jobTemplate": {
                    "spec": {
                        "template": {
                            **_pod(),
                            "spec": {**_pod()["spec"], "restartPolicy": "Never"},
                        }
                    }
                },
            },
        },
        changed=("spec.schedule", "0 4 * * *"),
        removed="metadata.labels.team",
        edited={"spec": {"suspend": True}},
        finds="spec.suspend",
    ),
    "priority-class": Sample(
        type="kubernetes:scheduling.k8s.io/v1:PriorityClass",
        path="/apis/scheduling.k8s.io/v1/priorityclasses/sample",
        inputs={**_meta("sample", None), "value": 1000, "globalDefault": False, "description": "x"},
        changed=("description", "y"),
        removed="description",
        edited={"description": "by hand"},
        finds="description",
    ),
    "storage-class": Sample(
        type="kubernetes:storage.k8s.io/v1:StorageClass",
        path="/apis/storage.k8s.io/v1/storageclasses/sample",
        inputs={
            **_meta("sample", None),
            "provisioner": "ebs.csi.aws.com",
            "parameters": {"type": "gp3", "encrypted": "true"},
            "allowVolumeExpansion": True,
        },
        changed=("allowVolumeExpansion", False),
        removed="metadata.labels.team",
        edited={"allowVolumeExpansion": False},
        finds="allowVolumeExpansion",
        replaced={"parameters.type": "gp2", "provisioner": "example.com/other"},
    ),
    "ingress": Sample(
        type="kubernetes:networking.k8s.io/v1:Ingress",
        path=f"/apis/networking.k8s.io/v1/{_IN}/ingresses/sample",
        inputs={
            **_meta("sample"),
            "spec": {
                "defaultBackend": {"service": {"name": "api-service", "port": {"number": 80}}}
            },
        },
        changed=(
            "spec.defaultBackend",
            {"service": {"name": "web-app", "port": {"number": 80}}},
        ),
        removed="metadata.labels.team",
        edited={"spec": {"defaultBackend": {"service": {"name": "by-hand"}}}},
        finds="spec.defaultBackend.service.name",
    ),
}
