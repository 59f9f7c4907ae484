"""The way to an environment's Kubernetes API, the same client in both modes.

On AWS a token of the deploy role opens it, as `aws eks get-token` makes it; the sandbox's own API
server knows its administrator by a certificate. No kubeconfig of whoever works is read.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any, Final

from infra import naming
from ops.errors import IncompleteError, OpsError

if TYPE_CHECKING:
    from kubernetes.client import ApiClient, Configuration

    from ops.access import Access

CONNECT_SECONDS: Final = 10.0
READ_SECONDS: Final = 60.0
_TOKEN_SECONDS: Final = 60
"""For how long a token's URL is signed, as the AWS CLI signs it."""
_CLUSTER_HEADER: Final = "x-k8s-aws-id"


class NoClusterError(OpsError):
    """There is no cluster, or none with an API that could be asked."""


class UnreachableClusterError(OpsError):
    """The cluster is there, and its API cannot be reached from this machine."""


def api_client(access: Access) -> ApiClient:
    """Give a client of the environment's Kubernetes API, which has answered.

    For the classes of `kubernetes.client`, such as `AppsV1Api(api_client(access))`; every request
    has a deadline. Raises `NoClusterError` where there is none, `UnreachableClusterError` where
    this machine has no way to it, `IncompleteError` where EKS does not tell.
    """
    from kubernetes.client import VersionApi
    from kubernetes.client.exceptions import ApiException
    from urllib3.exceptions import HTTPError

    cluster = _described(access)
    client = _client(
        _sandbox_configuration(access, cluster)
        if access.mode == "sandbox"
        else _aws_configuration(access, cluster)
    )
    try:
        VersionApi(client).get_code()
    except (HTTPError, OSError) as error:
        raise UnreachableClusterError(_unreachable(cluster, error)) from error
    except ApiException as error:
        raise OpsError(
            f"The Kubernetes API of {cluster['name']} refused {access.caller or 'this caller'}: "
            f"{error.status} {error.reason}. Nothing was done. The environment's deploy role has "
            "to have an access entry in the cluster."
        ) from error
    return client


def _described(access: Access) -> dict[str, Any]:
    from botocore.exceptions import BotoCoreError, ClientError

    name = naming.cluster(access.environment)
    try:
        found: dict[str, Any] = access.client("eks").describe_cluster(name=name)["cluster"]
    except ClientError as error:
        if error.response["Error"]["Code"] == "ResourceNotFoundException":
            raise NoClusterError(f"There is no EKS cluster {name}. Nothing was done.") from error
        raise IncompleteError(_unknown(name, error)) from error
    except BotoCoreError as error:
        raise IncompleteError(_unknown(name, error)) from error
    if found.get("status") in ("CREATING", "FAILED") or not found.get("endpoint"):
        raise NoClusterError(
            f"The EKS cluster {name} is {found.get('status')} and has no API yet. Nothing was done."
        )
    return found


def _aws_configuration(access: Access, cluster: dict[str, Any]) -> Configuration:
    from kubernetes.client import Configuration

    configuration = Configuration(host=cluster["endpoint"])
    configuration.ca_cert_data = base64.b64decode(cluster["certificateAuthority"]["data"]).decode()
    configuration.api_key_prefix = {"authorization": "Bearer"}
    sts = access.client("sts")
    _register_header(sts)

    def refresh(current: Configuration) -> None:
        # Signing asks nobody: a new token for each request never is an old one.
        current.api_key = {"authorization": _token(sts, cluster["name"])}

    refresh(configuration)
    setattr(configuration, "refresh_api_key_hook", refresh)  # noqa: B010 - declared as None
    return configuration


def _sandbox_configuration(access: Access, cluster: dict[str, Any]) -> Configuration:
    from kubernetes.client import Configuration

    from ops.sandbox import api_server

    server = api_server(access, cluster)
    if server is None:
        raise NoClusterError(
            f"The sandbox's cluster {cluster['name']} has no Kubernetes API: neither "
            "kube-apiserver nor etcd was found on this machine, so its objects are only recorded. "
            "Nothing was done. Get the programs with: make kube"
        )
    certificate, key = server.certificates.administrator
    configuration = Configuration(host=server.endpoint)
    configuration.ssl_ca_cert = str(server.certificates.authority)
    configuration.cert_file, configuration.key_file = str(certificate), str(key)
    return configuration


def _client(configuration: Configuration) -> ApiClient:
    from kubernetes.client import ApiClient
    from urllib3.util import Retry

    class PatientClient(ApiClient):
        """Gives every request a deadline, which the library leaves out."""

        def call_api(self, *args: Any, **options: Any) -> Any:
            asked = options.pop("_request_timeout", None)
            options["_request_timeout"] = asked or (CONNECT_SECONDS, READ_SECONDS)
            return super().call_api(*args, **options)

    # A way that is not there does not come with the next try; what is busy says so, and when.
    configuration.retries = Retry(
        total=5, connect=0, backoff_factor=0.5, status_forcelist=(429, 503), raise_on_status=False
    )
    return PatientClient(configuration)


def _register_header(sts: Any) -> None:
    """Let URLs that this client signs name a cluster: its API takes those that do, and no other."""

    def keep(params: dict[str, Any], context: dict[str, Any], **_: Any) -> None:
        if _CLUSTER_HEADER in params:
            context[_CLUSTER_HEADER] = params.pop(_CLUSTER_HEADER)

    def add(request: Any, **_: Any) -> None:
        if _CLUSTER_HEADER in request.context:
            request.headers[_CLUSTER_HEADER] = request.context[_CLUSTER_HEADER]

    # Named, as the client is shared: registered again they are the same.
    for event, handler in (("provide-client-params", keep), ("before-sign", add)):
        sts.meta.events.register(f"{event}.sts.GetCallerIdentity", handler, f"ops-{event}")


def _token(sts: Any, cluster: str) -> str:
    url = sts.generate_presigned_url(
        "get_caller_identity",
        Params={_CLUSTER_HEADER: cluster},
        ExpiresIn=_TOKEN_SECONDS,
        HttpMethod="GET",
    )
    return "k8s-aws-v1." + base64.urlsafe_b64encode(url.encode()).decode().rstrip("=")


def _unreachable(cluster: dict[str, Any], error: Exception) -> str:
    network = cluster.get("resourcesVpcConfig") or {}
    private = network.get("endpointPrivateAccess") and not network.get("endpointPublicAccess")
    why = (
        "Its endpoint is private: run this on a machine inside the VPC, or through a connection "
        "into it."
        if private
        else "Look whether this machine's address is among those that the endpoint admits."
    )
    return (
        f"The Kubernetes API of {cluster['name']} at {cluster['endpoint']} cannot be reached from "
        f"here within {CONNECT_SECONDS:.0f} s ({_reason(error)}). Nothing was done. {why}"
    )


def _reason(error: Exception) -> str:
    """Give the cause beneath the wrappings of urllib3."""
    inner = getattr(error, "reason", None)
    return str(inner) if isinstance(inner, Exception) else str(error)


def _unknown(name: str, error: Exception) -> str:
    return f"Whether there is an EKS cluster {name} could not be read: {error}. Nothing was done."
