"""The kubernetes provider on a real API server: objects are created, applied and deleted there.

It sends what Pulumi's provider sends: a create that refuses to take over what exists, then
server-side apply as a field manager of the object's own, without force unless it is asked for. No
controllers run in the sandbox. So nothing is awaited (a Deployment makes no pods), and what a
controller would do to end a deletion is done here: a namespace is emptied and finalized.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from typing import Any, Final

from infra.sandbox.engine.drivers.kubernetes import objects
from infra.sandbox.engine.drivers.kubernetes.api import (
    APPLY_PATCH,
    CONFLICT,
    JSON_PATCH,
    NOT_FOUND,
    RETRY_PAUSE,
    ApiServerError,
    Client,
    Json,
    UnknownKindError,
)
from infra.sandbox.engine.drivers.kubernetes.connection import Connection, UnreachableError
from infra.sandbox.engine.drivers.kubernetes.objects import Kind, kind_of, parsed_id
from infra.sandbox.engine.drivers.kubernetes.settings import Settings
from infra.sandbox.engine.provider import (
    CheckResult,
    DiffResult,
    ProviderError,
    ReadResult,
    UnsupportedTypeError,
)
from infra.sandbox.engine.wire import UNKNOWN, PropertyMap

FIELD_MANAGER: Final = "__fieldManager"
INITIAL_API_VERSION: Final = "__initialApiVersion"
_OWN_OUTPUTS: Final = (FIELD_MANAGER, INITIAL_API_VERSION)
CREATOR: Final = "pulumi-kubernetes"
"""The field manager that creates; the object's own takes over at the first update."""
_TAKEN_OVER: Final = (
    ("kubectl", "Apply"),
    ("kubectl", "Update"),
    ("before-first-apply", "Update"),
    (CREATOR, "Update"),
)
"""Field managers (by how their names begin) whose fields an update takes over."""
PATCH_FORCE: Final = "pulumi.com/patchForce"
PATCH_FIELD_MANAGER: Final = "pulumi.com/patchFieldManager"
DELETE_DEADLINE: Final = 60.0
DELETE_PAUSE: Final = 0.05
ORDER_ATTEMPTS: Final = 5
"""How often an object is sent that comes before what it needs."""
CONTROLLERS_FINALIZERS: Final = frozenset(
    {
        "foregroundDeletion",
        "kubernetes",
        "kubernetes.io/pv-protection",
        "kubernetes.io/pvc-protection",
        "orphan",
    }
)
"""Finalizers of Kubernetes' own controllers, none of which runs here."""
_NAMESPACE: Final = Kind("v1", "Namespace")
_STRICT: Final = {"fieldValidation": "Strict"}
_DRY_RUN: Final = {"dryRun": "All"}
_EXISTS: Final = (
    "The resource already exists in the cluster. Nothing was changed. Import it to manage it, use"
    " an alias if the resource was renamed in the program, or set upsertExistingObjects on the"
    " provider to take it over."
)


class AppliedKubernetes:
    """Applies Kubernetes objects to an API server. Implements `provider.Provider`."""

    def __init__(self, settings: Settings, connection: Connection) -> None:
        self._settings = settings
        self._connection = connection

    def check(
        self, type_: str, name: str, old_inputs: PropertyMap | None, inputs: PropertyMap
    ) -> CheckResult:
        """Complete the object: kind, name, and the provider's namespace where it has one."""
        return objects.checked(type_, name, old_inputs, inputs, self._settings.namespace)

    def diff(
        self,
        type_: str,
        id_: str,  # noqa: ARG002 - the provider protocol's signature
        old_inputs: PropertyMap,
        old_outputs: PropertyMap,  # noqa: ARG002
        inputs: PropertyMap,
    ) -> DiffResult:
        """Compare what the program manages."""
        return objects.difference(type_, old_inputs, inputs, self._settings.mutable)

    def create(self, type_: str, name: str, inputs: PropertyMap) -> tuple[str, PropertyMap]:  # noqa: ARG002
        """Create the object; one that exists is taken over only where the provider says so."""
        manager = _field_manager(inputs, {})
        if self._settings.upsert:
            live = self._applied(type_, inputs, manager, force=self._forces(inputs))
        else:
            live = self._created(type_, inputs)
        resource = self._connection.client().resource(kind_of(type_))
        id_ = objects.object_id(kind_of(type_), live, namespaced=resource.namespaced)
        return id_, _outputs(live, manager, inputs)

    def preview_outputs(
        self, type_: str, inputs: PropertyMap, old_outputs: PropertyMap | None
    ) -> PropertyMap:
        """Let the API server try it, where the object is known and its cluster is there."""
        if not self._connection.is_known or not objects.is_whole(inputs):
            return _planned(inputs, old_outputs)
        try:
            live = self._tried(type_, inputs, old_outputs)
        except (UnreachableError, UnknownKindError):
            return _planned(inputs, old_outputs)  # a cluster or a definition yet to be made
        except ApiServerError as error:
            # The namespace is yet to be made, or the object is yet to go.
            if error.status == NOT_FOUND or error.reason == "AlreadyExists":
                return _planned(inputs, old_outputs)
            raise
        kept = {key: value for key, value in (old_outputs or {}).items() if key in _OWN_OUTPUTS}
        return {**objects.planned_outputs(live), **kept}

    def read(
        self, type_: str, id_: str, inputs: PropertyMap, outputs: PropertyMap
    ) -> ReadResult | None:
        """Read the live object; its inputs are cut down to what the program manages."""
        try:
            live = self._live(type_, id_)
        except UnreachableError:
            if self._settings.delete_unreachable:
                return None
            raise
        except UnknownKindError:
            return None  # its definition is gone, and every object with it
        if live is None:
            return None
        namespaced = self._connection.client().resource(kind_of(type_)).namespaced
        found = objects.object_id(kind_of(type_), live, namespaced=namespaced)
        manager = _field_manager(inputs, outputs)
        return ReadResult(
            found, objects.live_inputs(live, inputs), _outputs(live, manager, live, outputs)
        )

    def update(
        self,
        type_: str,
        id_: str,
        old_inputs: PropertyMap,  # noqa: ARG002 - the API server knows what was applied
        old_outputs: PropertyMap,
        inputs: PropertyMap,
    ) -> PropertyMap:
        """Apply the object: what it no longer says goes."""
        live = self._live(type_, id_)
        if live is None:
            raise ProviderError(
                f"{type_} {id_} is not in the cluster any more. Nothing was changed. Run a refresh,"
                " then the update again: it makes it anew."
            )
        manager = _field_manager(inputs, old_outputs)
        self._take_over(type_, live, manager)
        force = self._forces(inputs) or not _managed(live)
        return _outputs(
            self._applied(type_, inputs, manager, force=force), manager, inputs, old_outputs
        )

    def delete(self, type_: str, id_: str, inputs: PropertyMap, outputs: PropertyMap) -> None:  # noqa: ARG002
        """Delete the object and wait until it is gone."""
        try:
            client = self._connection.client()
            resource = client.resource(kind_of(type_))
        except UnreachableError:
            if self._settings.delete_unreachable:
                return
            raise
        except UnknownKindError:
            return
        namespace, name = parsed_id(id_)
        path = resource.path(namespace, name)
        # No garbage collector runs: what is deleted in the foreground would wait for it forever.
        options = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background"}
        if _absent_is_none(client, "DELETE", path, body=options) is None:
            return
        if kind_of(type_) == _NAMESPACE:
            _finalize_namespace(client, path, name)
        _wait_until_gone(client, path, f"{type_} {id_}")

    def find(self, type_: str, name: str, inputs: PropertyMap) -> tuple[str, ...]:  # noqa: ARG002
        """Find the object, if one of its name is there that Pulumi made."""
        kind = kind_of(type_)
        resource = self._connection.client().resource(kind)
        id_ = objects.object_id(kind, inputs, namespaced=resource.namespaced)
        live = self._live(type_, id_)
        managers = [entry.get("manager", "") for entry in _managed(live or {})]
        return (id_,) if any(manager.startswith(CREATOR) for manager in managers) else ()

    def invoke(self, token: str, args: PropertyMap) -> PropertyMap:  # noqa: ARG002
        """Refuse: the kubernetes package's functions render charts and manifests."""
        raise UnsupportedTypeError(
            f"The sandbox cannot answer the function {token}. Nothing was changed."
        )

    def secret_outputs(self, type_: str) -> frozenset[str]:
        """Name what is always secret: a Secret's content."""
        return objects.secret_outputs(type_)

    def is_recorded(self, type_: str) -> bool:  # noqa: ARG002
        """Nothing is."""
        return False

    # -- the API server ----------------------------------------------------------------------------

    def _live(self, type_: str, id_: str) -> Json | None:
        client = self._connection.client()
        path = client.resource(kind_of(type_)).path(*parsed_id(id_))
        return _absent_is_none(client, "GET", path)

    def _created(self, type_: str, inputs: PropertyMap) -> Json:
        """Create it; its namespace or its definition may be made in this very moment."""
        for attempt in range(1, ORDER_ATTEMPTS):
            try:
                return self._posted(type_, inputs)
            except (ApiServerError, UnknownKindError) as error:
                if isinstance(error, ApiServerError) and error.status != NOT_FOUND:
                    raise
            time.sleep(RETRY_PAUSE * 2 ** (attempt - 1))
        return self._posted(type_, inputs)

    def _posted(
        self, type_: str, inputs: PropertyMap, extra: Mapping[str, str] | None = None
    ) -> Json:
        client = self._connection.client()
        path = client.resource(kind_of(type_)).path(_namespace(inputs))
        query = {"fieldManager": CREATOR, **_STRICT, **(extra or {})}
        try:
            return client.request("POST", path, query=query, body=inputs)
        except ApiServerError as error:
            hint = _EXISTS if error.reason == "AlreadyExists" else ""
            raise _explained(error, type_, inputs, hint) from error

    def _applied(
        self,
        type_: str,
        inputs: PropertyMap,
        manager: str,
        *,
        force: bool,
        extra: Mapping[str, str] | None = None,
    ) -> Json:
        client = self._connection.client()
        resource = client.resource(kind_of(type_))
        path = resource.path(_namespace(inputs), str(inputs["metadata"]["name"]))
        query = {
            "fieldManager": manager,
            "force": "true" if force else "false",
            **_STRICT,
            **(extra or {}),
        }
        try:
            return client.request("PATCH", path, query=query, body=inputs, content_type=APPLY_PATCH)
        except ApiServerError as error:
            hint = ""
            if error.status == CONFLICT:
                hint = (
                    "Another field manager has set these fields since. Nothing was changed. To"
                    f' take them back, annotate the object with {PATCH_FORCE}: "true", or set'
                    " enablePatchForce on the provider."
                )
            raise _explained(error, type_, inputs, hint) from error

    def _tried(self, type_: str, inputs: PropertyMap, old_outputs: PropertyMap | None) -> Json:
        if old_outputs is None and not self._settings.upsert:
            return self._posted(type_, inputs, _DRY_RUN)
        old = old_outputs or {}
        # In a preview nothing has been taken over yet.
        force = not old or self._forces(inputs) or _would_take_over(old)
        manager = _field_manager(inputs, old)
        return self._applied(type_, inputs, manager, force=force, extra=_DRY_RUN)

    def _take_over(self, type_: str, live: Json, manager: str) -> None:
        """Make the object's own field manager the owner of what it was created with."""
        if not _would_take_over(live):
            return
        metadata = live["metadata"]
        client = self._connection.client()
        resource = client.resource(kind_of(type_))
        patch: list[Json] = [
            {
                "op": "test",
                "path": "/metadata/resourceVersion",
                "value": metadata["resourceVersion"],
            },
            {
                "op": "replace",
                "path": "/metadata/managedFields",
                "value": _taken_over(_managed(live), manager),
            },
        ]
        path = resource.path(metadata.get("namespace") or "", metadata["name"])
        client.request("PATCH", path, body=patch, content_type=JSON_PATCH)

    def _forces(self, inputs: PropertyMap) -> bool:
        annotations = (inputs.get("metadata") or {}).get("annotations") or {}
        return self._settings.patch_force or annotations.get(PATCH_FORCE) == "true"


def _absent_is_none(
    client: Client, method: str, path: str, *, body: Json | None = None
) -> Json | None:
    try:
        return client.request(method, path, body=body)
    except ApiServerError as error:
        if error.status == NOT_FOUND:
            return None
        raise


def _namespace(inputs: PropertyMap) -> str:
    return str((inputs.get("metadata") or {}).get("namespace") or "")


def _explained(
    error: ApiServerError, type_: str, inputs: PropertyMap, hint: str = ""
) -> ApiServerError:
    name = objects.object_id(kind_of(type_), inputs)
    text = f"The cluster's API server refused {type_} {name}: {error}"
    return ApiServerError(f"{text}\n{hint}" if hint else text, error.status, error.reason)


def _field_manager(inputs: PropertyMap, outputs: PropertyMap) -> str:
    """Give the object's own field manager: said by the program, known, or a new one."""
    annotations = (inputs.get("metadata") or {}).get("annotations") or {}
    said = annotations.get(PATCH_FIELD_MANAGER) or outputs.get(FIELD_MANAGER)
    return str(said) if said else f"{CREATOR}-{secrets.token_hex(4)}"


def _outputs(
    live: Json, manager: str, inputs: PropertyMap, old: PropertyMap | None = None
) -> PropertyMap:
    version = (old or {}).get(INITIAL_API_VERSION) or inputs.get("apiVersion")
    return {**live, INITIAL_API_VERSION: version, FIELD_MANAGER: manager}


def _planned(inputs: PropertyMap, old_outputs: PropertyMap | None) -> PropertyMap:
    """Give the outputs that need no API server: what is asked for, and the identity that stays."""
    before = (old_outputs or {}).get("metadata") or {}
    metadata = inputs.get("metadata")
    if not isinstance(metadata, Mapping):
        return dict(inputs)
    uid = before.get("uid", UNKNOWN)
    return {**inputs, "metadata": {**metadata, "uid": uid}}


# -- field managers --------------------------------------------------------------------------------


def _managed(live: Mapping[str, Any]) -> list[Json]:
    return list((live.get("metadata") or {}).get("managedFields") or [])


def _is_taken_over(entry: Json) -> bool:
    return not entry.get("subresource") and any(
        str(entry.get("manager", "")).startswith(name) and entry.get("operation") == operation
        for name, operation in _TAKEN_OVER
    )


def _would_take_over(live: Mapping[str, Any]) -> bool:
    return any(map(_is_taken_over, _managed(live)))


def _taken_over(entries: list[Json], manager: str) -> list[Json]:
    """Give the entries with those that are taken over made one, of the object's own manager."""
    ours = [
        entry
        for entry in entries
        if _is_taken_over(entry)
        or (entry.get("manager"), entry.get("operation")) == (manager, "Apply")
    ]
    fields: Json = {}
    for entry in ours:
        fields = _union(fields, entry.get("fieldsV1") or {})
    own = {**ours[-1], "manager": manager, "operation": "Apply", "fieldsV1": fields}
    return [entry for entry in entries if entry not in ours] + [own]


def _union(one: Json, other: Json) -> Json:
    both = {**one, **other}
    for key in one.keys() & other.keys():
        both[key] = _union(one[key], other[key])
    return both


# -- deletion --------------------------------------------------------------------------------------


def _wait_until_gone(client: Client, path: str, title: str) -> None:
    limit = time.monotonic() + DELETE_DEADLINE
    while True:
        live = _absent_is_none(client, "GET", path)
        if live is None:
            return
        waiting = _release(client, path, live)
        if time.monotonic() > limit:
            raise ProviderError(
                f"{title} is still being deleted after {DELETE_DEADLINE:.0f} s: its finalizers"
                f" {waiting} are somebody else's to remove.",
                maybe_done=True,
            )
        time.sleep(DELETE_PAUSE)


def _release(client: Client, path: str, live: Json) -> list[str]:
    """Remove the finalizers that Kubernetes' controllers would; give those that stay."""
    metadata = live.get("metadata") or {}
    finalizers: list[str] = metadata.get("finalizers") or []
    others = [finalizer for finalizer in finalizers if finalizer not in CONTROLLERS_FINALIZERS]
    if others != finalizers and metadata.get("deletionTimestamp"):
        patch: list[Json] = [
            {
                "op": "test",
                "path": "/metadata/resourceVersion",
                "value": metadata["resourceVersion"],
            },
            {"op": "replace", "path": "/metadata/finalizers", "value": others},
        ]
        try:
            client.request("PATCH", path, body=patch, content_type=JSON_PATCH)
        except ApiServerError as error:
            if error.status not in (NOT_FOUND, CONFLICT, 422):
                raise
    return others


def _finalize_namespace(client: Client, path: str, name: str) -> None:
    """Do the namespace controller's work: delete what is in a namespace, then let it go."""
    left = _emptied(client, name)
    limit = time.monotonic() + DELETE_DEADLINE
    while left:
        if time.monotonic() > limit:
            raise ProviderError(
                f"The namespace {name} is still being deleted after {DELETE_DEADLINE:.0f} s: it"
                f" holds {', '.join(left[:5])}.",
                maybe_done=True,
            )
        time.sleep(DELETE_PAUSE)
        left = _emptied(client, name)
    live = _absent_is_none(client, "GET", path)
    if live is not None:
        body = {**live, "spec": {**(live.get("spec") or {}), "finalizers": []}}
        _absent_is_none(client, "PUT", f"{path}/finalize", body=body)


def _emptied(client: Client, namespace: str) -> list[str]:
    """Delete everything in a namespace; give what is still there."""
    left: list[str] = []
    for resource in client.namespaced_resources():
        if not {"deletecollection", "list"} <= resource.verbs:
            continue
        path = resource.path(namespace)
        found = _items(client, path)
        if not found:
            continue
        client.request("DELETE", path, query={"propagationPolicy": "Background"})
        for item in _items(client, path):
            name = item["metadata"]["name"]
            _release(client, resource.path(namespace, name), item)
        left += [f"{resource.plural}/{item['metadata']['name']}" for item in _items(client, path)]
    return left


def _items(client: Client, path: str) -> list[Json]:
    return list((_absent_is_none(client, "GET", path) or {}).get("items") or [])
