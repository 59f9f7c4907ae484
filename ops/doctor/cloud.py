"""What is looked at in the account: the caller, what holds the state, what is there already."""

from __future__ import annotations

import base64
import datetime as dt
import email.utils
import socket
import ssl
from collections.abc import Mapping
from ipaddress import IPv4Address, ip_network
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs, urlsplit

from infra import naming, suspension
from ops import engine_lock, lock
from ops.checks import Check, Status
from ops.errors import AuthenticationError
from ops.foundation import NoFoundationError, foundation

if TYPE_CHECKING:
    from ops.access import Access

CONNECT_SECONDS: Final = 5.0
SKEW_WARNED: Final = 30.0
SKEW_REFUSED: Final = 300.0
"""AWS takes no request whose clock is further off."""
ALL_BUT_KUBERNETES: Final = ("**aws:**", "**eks:index:*::*", "**mono-repo:index:*::*")
"""The URNs of what needs no API of a cluster: AWS's own, and the components that they are in."""


def account(access: Access) -> Check:
    """Say which account it is, by its alias as well."""
    aliases = access.client("iam").list_account_aliases()["AccountAliases"]
    alias = f" ({aliases[0]})" if aliases else " (no alias)"
    return Check(name="account", status="ok", found=f"{access.settings.account_id}{alias}")


def region(access: Access) -> Check:
    """Check the region, and that it has the settings' zones."""
    wanted = set(access.settings.network.availability_zones)
    listed = access.client("ec2").describe_availability_zones()["AvailabilityZones"]
    there = {zone["ZoneName"] for zone in listed if zone["State"] == "available"}
    missing = sorted(wanted - there)
    return Check(
        name="region",
        status="fail" if missing else "ok",
        found=f"{access.settings.region} has no {', '.join(missing)}"
        if missing
        else f"{access.settings.region}, {len(wanted)} zones",
        expected=f"available: {', '.join(sorted(wanted))}",
        remedy="correct network.availability_zones in the stack file",
    )


def deploy_role(access: Access) -> Check:
    """Check that the caller can become the environment's deploy role."""
    role = naming.deploy_role(access.environment)
    try:
        arn = access.client("sts").get_caller_identity()["Arn"]
    except AuthenticationError as error:
        return Check(
            name="deploy role",
            status="fail",
            found=str(error),
            expected=f"{access.caller} may assume {role}",
            remedy=f"ops bootstrap {access.environment}, or let the caller assume the role",
        )
    return Check(name="deploy role", status="ok", found=arn)


def clock(region: str, endpoint: str = "") -> Check:
    """Compare this machine's clock with AWS's; nobody has to be signed in for that."""
    url = endpoint or f"https://sts.{region}.amazonaws.com/"
    said = email.utils.parsedate_to_datetime(_headers(url)["date"])
    skew = abs((dt.datetime.now(tz=dt.UTC) - said).total_seconds())
    status: Status = "ok" if skew <= SKEW_WARNED else "warn" if skew <= SKEW_REFUSED else "fail"
    return Check(
        name="clock",
        status=status,
        found=f"{skew:.0f} s from AWS's",
        expected=f"at most {SKEW_WARNED:.0f} s; AWS refuses more than {SKEW_REFUSED / 60:.0f} min",
        remedy="set the clock, and let it be kept (NTP)",
    )


def bootstrap(access: Access) -> Check:
    """Check that what outlives the environment is there."""
    try:
        found = foundation(access)
    except NoFoundationError as error:
        return Check(
            name="bootstrap",
            status="fail",
            found=str(error).partition(":")[0],
            expected="state bucket, backup bucket and lock table",
            remedy=f"ops bootstrap {access.environment}",
        )
    return Check(
        name="bootstrap",
        status="ok",
        found=f"{found.state_bucket}, {found.backup_bucket}, {found.lock_table}",
    )


def backend(access: Access) -> Check:
    """Check that the state's bucket is the one the bootstrap made, versioned and encrypted."""
    if access.mode == "sandbox":
        return Check(name="backend", status="skipped", found=f"the sandbox's own, {access.backend}")
    url = urlsplit(access.backend)
    env = access.environment
    if not access.backend:
        return Check(
            name="backend",
            status="fail",
            found=f"{naming.stack_file(env)} has no backend.url",
            expected="the state bucket that the bootstrap has made",
            remedy=f"ops bootstrap {env} prints the line to add",
        )
    if url.scheme != "s3":
        return Check(name="backend", status="skipped", found=f"{access.backend}: not a bucket")
    s3, bucket = access.client("s3"), url.netloc
    owner = {"Bucket": bucket, "ExpectedBucketOwner": access.settings.account_id}
    s3.head_bucket(**owner)
    problems = []
    if s3.get_bucket_versioning(**owner).get("Status") != "Enabled":
        problems.append("it keeps no versions")
    if not _is_encrypted_by_a_key(s3, owner):
        problems.append("no key of ours encrypts it")
    try:
        made = foundation(access).state_bucket
    except NoFoundationError:
        made = ""
    if made and made != bucket:
        problems.append(f"the bootstrap made {made}")
    return Check(
        name="backend",
        status="fail" if problems else "ok",
        found=f"{bucket}: {', '.join(problems)}" if problems else bucket,
        expected="reachable, versioned, encrypted by a key, made by the bootstrap",
        remedy=f"correct backend.url, or: ops bootstrap {env}",
    )


def _is_encrypted_by_a_key(s3: Any, bucket: Mapping[str, str]) -> bool:
    from botocore.exceptions import ClientError

    try:
        answer = s3.get_bucket_encryption(**bucket)
    except ClientError as error:
        if error.response["Error"]["Code"] != "ServerSideEncryptionConfigurationNotFoundError":
            raise
        return False
    return any(
        rule.get("ApplyServerSideEncryptionByDefault", {})
        .get("SSEAlgorithm", "")
        .startswith("aws:")
        for rule in answer["ServerSideEncryptionConfiguration"]["Rules"]
    )


def secrets_key(access: Access) -> Check:
    """Check the key of the stack's secrets."""
    url = urlsplit(access.settings.backend.secrets_provider)
    if access.mode == "sandbox" or url.scheme != "awskms":
        found = "a passphrase of the sandbox's" if access.mode == "sandbox" else url.scheme
        return Check(name="secrets key", status="skipped", found=found)
    id_ = (url.netloc + url.path).strip("/")
    key_region = parse_qs(url.query).get("region", [access.settings.region])[0]
    key = access.client("kms").describe_key(KeyId=id_)["KeyMetadata"]
    usable = key["KeyState"] == "Enabled" and key_region == access.settings.region
    until = f" until {key['DeletionDate']:%Y-%m-%d}" if "DeletionDate" in key else ""
    return Check(
        name="secrets key",
        status="ok" if usable else "fail",
        found=f"{id_} in {key_region} is {key['KeyState']}{until}",
        expected=f"Enabled, in {access.settings.region}",
        remedy="without it no secret of the state can be read: kms cancel-key-deletion, enable-key",
    )


def environment_lock(access: Access) -> Check:
    """Tell whether somebody works on the environment."""
    try:
        table = foundation(access).lock_table
    except NoFoundationError:
        return Check(name="lock", status="skipped", found="no bootstrap, no lock")
    held = lock.environment_lock(access, table).status()
    if held is None:
        return Check(name="lock", status="ok", found="free")
    holder = held.holder
    over = " It has run out: the next command takes it over." if held.has_run_out else ""
    return Check(
        name="lock",
        status="warn",
        found=f"{holder.command} by {holder.operator} since {holder.acquired}.{over}",
        expected="free",
        remedy=f"wait for it, or: ops lock status {access.environment}",
    )


def pulumi_lock(access: Access) -> Check:
    """Tell whether an update of Pulumi's own runs."""
    found = engine_lock.running(access)
    unlock = engine_lock.advice(access.mode, access.environment)
    return Check(
        name="pulumi lock",
        status="warn" if found else "ok",
        found=", ".join(item.strip() for item in found) or "free",
        expected="free",
        remedy=f"wait for it; if it has died: {unlock}",
    )


def suspended(access: Access) -> Check:
    """Tell whether the environment is stopped."""
    env = access.environment
    path = naming.suspension_parameter(env).rpartition("/")[0]
    pages = access.client("ssm").get_paginator("get_parameters_by_path")
    found = {
        item["Name"]: item["Value"]
        for page in pages.paginate(Path=path, Recursive=True)
        for item in page["Parameters"]
    }
    try:
        record = suspension.parse(env, found)
    except suspension.SuspensionError as error:
        return Check(name="suspension", status="fail", found=str(error), remedy="see the message")
    if record is None:
        return Check(name="suspension", status="ok", found="it runs")
    overdue = record.is_overdue(dt.datetime.now(tz=dt.UTC))
    until = f", meant until {record.until:%Y-%m-%d %H:%M} UTC" if record.until else ""
    late = ": that is past" if overdue else ""
    return Check(
        name="suspension",
        status="warn",
        found=f"stopped since {record.since:%Y-%m-%d %H:%M} UTC by {record.actor}{until}{late}",
        expected="it runs",
        remedy=f"ops start {env}",
    )


def cluster(access: Access) -> Check:
    """Check that the cluster's API can be reached from here."""
    name = naming.cluster(access.environment)
    eks = access.client("eks")
    try:
        found = eks.describe_cluster(name=name)["cluster"]
    except eks.exceptions.ResourceNotFoundException:
        return _unmade(access, name)
    if found["status"] != "ACTIVE":
        return Check(
            name="cluster",
            status="warn",
            found=f"{name} is {found['status']}",
            expected="ACTIVE",
            remedy="wait until it is",
        )
    server = _server(access, found)
    if server is None:
        said = f"{name} is ACTIVE; there is no API server in this sandbox"
        return Check(name="cluster", status="skipped", found=said)
    private = not found.get("resourcesVpcConfig", {}).get("endpointPublicAccess", True)
    return _reached(name, *server, private=private)


def _unmade(access: Access, name: str) -> Check:
    """Say how a cluster is made whose API will answer in a network alone that is not there yet.

    One update makes the network, the cluster in it, and what is in the cluster.
    """
    env, range_ = access.environment, access.settings.network.cidr
    found = f"{name} is not made yet"
    if access.mode == "sandbox" or access.settings.eks.public_access:
        return Check(name="cluster", status="skipped", found=found)
    if _address_towards(range_) in ip_network(range_):
        return Check(
            name="cluster", status="skipped", found=f"{found}; this machine is in {range_}"
        )
    targets = " ".join(f"--target '{pattern}'" for pattern in ALL_BUT_KUBERNETES)
    return Check(
        name="cluster",
        status="warn",
        found=f"{found}, and its API will answer inside the VPC only, where this machine is not: "
        "a deployment from here makes the AWS resources and then fails at what is in the cluster",
        expected="a machine that reaches the API of the cluster when that is made",
        remedy="for the first run set eks.public_access: true and eks.public_access_cidrs to this "
        "machine's public address alone (A.B.C.D/32), and take both back when a machine in the VPC "
        f"can run ops; or make the AWS resources alone, ops up {env} {targets}, and then deploy "
        "from a machine in one of its private subnets that the cluster's security group lets in",
    )


def _address_towards(range_: str) -> IPv4Address:
    """Give this machine's address as a network would see it; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        try:
            asking.connect((str(ip_network(range_)[2]), 53))
        except OSError:
            return IPv4Address(0)  # no way leads there
        return IPv4Address(asking.getsockname()[0])


def _reached(name: str, endpoint: str, authority: str, *, private: bool) -> Check:
    """Open a TLS connection to a cluster's API; `authority`: in PEM, who vouches for it."""
    where = urlsplit(endpoint)
    host, port = str(where.hostname), where.port or 443
    try:
        context = ssl.create_default_context(cadata=authority)
        with (
            socket.create_connection((host, port), timeout=CONNECT_SECONDS) as connection,
            context.wrap_socket(connection, server_hostname=host),
        ):
            return Check(name="cluster", status="ok", found=f"{name} answers at {endpoint}")
    except OSError as error:  # TLS's errors are among them
        return Check(
            name="cluster",
            status="fail",
            found=f"{name} does not answer at {endpoint}: {error}",
            expected="its API answers from here",
            remedy="its endpoint is private: work from a runner inside the VPC; only what asks "
            "AWS alone works from here"
            if private
            else "look at the network and at eks.public_access_cidrs",
        )


def _server(access: Access, found: Mapping[str, Any]) -> tuple[str, str] | None:
    """Give where a cluster's API is, and who vouches for it."""
    if access.mode == "sandbox":
        from ops import sandbox

        server = sandbox.running_api_server(access.root, str(found["name"]))
        return (server.endpoint, server.certificates.authority.read_text()) if server else None
    return str(found["endpoint"]), base64.b64decode(found["certificateAuthority"]["data"]).decode()


def _headers(url: str) -> Mapping[str, str]:
    """Give the headers of an answer, whoever is asking: it needs no credentials."""
    from botocore.awsrequest import AWSRequest
    from botocore.httpsession import URLLib3Session
    from botocore.utils import get_environ_proxies

    session = URLLib3Session(proxies=get_environ_proxies(url), timeout=CONNECT_SECONDS)
    headers: Mapping[str, str] = session.send(AWSRequest("HEAD", url).prepare()).headers
    return headers
