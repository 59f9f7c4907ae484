"""A cluster seen by whoever is asked about: requests and access reviews as other users."""

from __future__ import annotations

import json
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from http.client import HTTPSConnection
from typing import Any
from urllib.parse import urlencode

from infra.sandbox.clusters import HOST, ApiServer

Json = dict[str, Any]
DEADLINE = 30


@dataclass(frozen=True)
class Person:
    """Whom the API server takes the asker for: a user and the user's groups."""

    user: str
    groups: Sequence[str] = ()


@dataclass(frozen=True)
class Answer:
    """An HTTP status, and the JSON that came with it."""

    status: int
    body: Json


class Cluster:
    """Asks an API server, as its administrator or impersonating somebody."""

    def __init__(self, server: ApiServer) -> None:
        self.server = server

    def request(
        self,
        method: str,
        path: str,
        body: Json | None = None,
        *,
        as_: Person | None = None,
        content_type: str = "application/json",
    ) -> Answer:
        """Send one request; whatever the status is, it is given."""
        files = self.server.certificates
        context = ssl.create_default_context(cafile=files.authority)
        context.load_cert_chain(*files.administrator)
        connection = HTTPSConnection(HOST, self.server.port, timeout=DEADLINE, context=context)
        try:
            connection.putrequest(method, path)
            data = json.dumps(body).encode() if body is not None else b""
            connection.putheader("Content-Type", content_type)
            connection.putheader("Content-Length", str(len(data)))
            if as_ is not None:
                connection.putheader("Impersonate-User", as_.user)
                for group in as_.groups:
                    connection.putheader("Impersonate-Group", group)
            connection.endheaders(data)
            response = connection.getresponse()
            text = response.read()
        finally:
            connection.close()
        try:
            return Answer(response.status, json.loads(text))
        except ValueError:
            return Answer(response.status, {"message": text.decode()})

    def get(self, path: str) -> Json:
        """Give what is there."""
        answer = self.request("GET", path)
        assert answer.status == 200, answer
        return answer.body

    def is_there(self, path: str) -> bool:
        """Tell whether there is something at a path."""
        return self.request("GET", path).status == 200

    def create(self, path: str, body: Json) -> Json:
        """Make an object."""
        answer = self.request("POST", path, body)
        assert answer.status == 201, answer
        return answer.body

    def edit(self, path: str, change: Json, *, manager: str = "kubectl-edit") -> Json:
        """Merge a change into an object, as ``kubectl edit`` and ``kubectl patch`` do."""
        answer = self.request(
            "PATCH",
            f"{path}?{urlencode({'fieldManager': manager})}",
            change,
            content_type="application/merge-patch+json",
        )
        assert answer.status == 200, answer
        return answer.body

    def allows(
        self,
        person: Person,
        verb: str,
        resource: str,
        *,
        group: str = "",
        namespace: str = "",
        name: str = "",
        subresource: str = "",
    ) -> bool:
        """Ask by a SubjectAccessReview whether RBAC lets a person do something.

        No namespace stands for all of them; `group` is the resource's API group.
        """
        attributes = _attributes(verb, resource, group, namespace, name, subresource)
        spec = {
            "user": person.user,
            "groups": list(person.groups),
            "resourceAttributes": attributes,
        }
        return self._review("SubjectAccessReview", spec, None)

    def lets_do(
        self,
        person: Person,
        verb: str,
        resource: str,
        *,
        group: str = "",
        namespace: str = "",
        name: str = "",
        subresource: str = "",
    ) -> bool:
        """Ask the same as the person, by a SelfSubjectAccessReview (``kubectl auth can-i``)."""
        attributes = _attributes(verb, resource, group, namespace, name, subresource)
        # What everybody who is authenticated may do, this review among it, comes by this group.
        authenticated = Person(person.user, [*person.groups, "system:authenticated"])
        return self._review(
            "SelfSubjectAccessReview", {"resourceAttributes": attributes}, authenticated
        )

    def _review(self, kind: str, spec: Json, as_: Person | None) -> bool:
        plural = f"{kind.lower()}s"
        body = {"apiVersion": "authorization.k8s.io/v1", "kind": kind, "spec": spec}
        answer = self.request("POST", f"/apis/authorization.k8s.io/v1/{plural}", body, as_=as_)
        assert answer.status == 201, answer
        return bool(answer.body["status"]["allowed"])


def _attributes(
    verb: str, resource: str, group: str, namespace: str, name: str, subresource: str
) -> Json:
    return {
        "verb": verb,
        "resource": resource,
        "group": group,
        "namespace": namespace,
        "name": name,
        "subresource": subresource,
    }
