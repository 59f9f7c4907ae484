"""The kinds of value a stack file holds: what each allows, said once for checks and for people.

A kind is an annotated type. Its `Allowed` marker is the sentence that error messages and the
reference page show; its validator raises `ValueError` with the remedy.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Final

from pydantic import AfterValidator, BeforeValidator, Field

CLOUDWATCH_RETENTION_DAYS: Final = (
    1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922,
    3288, 3653,
)  # fmt: skip
"""Every retention that CloudWatch Logs accepts, in days."""

WIDEST_CLIENT_PREFIX: Final = 8

PRIVATE_RANGES: Final = tuple(
    ipaddress.IPv4Network(cidr) for cidr in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")
)


@dataclass(frozen=True)
class Allowed:
    """What a value may be, as a phrase: `12 digits, in quotes`."""

    text: str


def _matching(pattern: str, remedy: str) -> AfterValidator:
    """Accept text that the pattern matches wholly."""
    compiled = re.compile(pattern, re.ASCII)

    def check(value: str) -> str:
        if compiled.fullmatch(value) is None:
            raise ValueError(remedy)
        return value

    return AfterValidator(check)


def _one_of(values: tuple[int, ...], remedy: str) -> AfterValidator:
    def check(value: int) -> int:
        if value not in values:
            raise ValueError(remedy)
        return value

    return AfterValidator(check)


def _network(value: str) -> ipaddress.IPv4Network:
    try:
        return ipaddress.IPv4Network(value)
    except ValueError as error:
        raise ValueError(_network_remedy(value)) from error


def _network_remedy(value: str) -> str:
    """Say which range was probably meant where host bits are set."""
    try:
        return f"host bits are set: write {ipaddress.IPv4Network(value, strict=False)}"
    except ValueError:
        return "write an IPv4 range with its prefix, such as 10.0.0.0/16"


def _sized(smallest: int, largest: int) -> Callable[[str], str]:
    """Accept private ranges whose prefix lies between the two, both included."""

    def check(value: str) -> str:
        network = _network(value)
        if not any(network.subnet_of(private) for private in PRIVATE_RANGES):
            raise ValueError("use a range inside 10.0.0.0/8, 172.16.0.0/12 or 192.168.0.0/16")
        if network.prefixlen > smallest:
            raise ValueError(f"too small: use a prefix of /{smallest} or less")
        if network.prefixlen < largest:
            raise ValueError(f"too large for AWS: use a prefix of /{largest} or more")
        return value

    return check


def _limited_range(value: str) -> str:
    network = _network(value)
    if network.prefixlen < WIDEST_CLIENT_PREFIX:
        raise ValueError("this is much of the internet: name the ranges that need access")
    return value


def _date(value: object) -> object:
    """Read an ISO date; other types are left to the type check."""
    if not isinstance(value, str):
        return value
    try:
        return dt.date.fromisoformat(value)
    except ValueError as error:
        raise ValueError('write a date of the calendar as "2027-06-30", in quotes') from error


def _compiles(value: str) -> str:
    try:
        re.compile(value)
    except re.error as error:
        raise ValueError(f"correct the regular expression: {error}") from error
    return value


def _parameter_name(value: str) -> str:
    first = value.split("/", 1)[0].lower()
    if value.startswith("/"):
        raise ValueError("write the part after /{env}/{app}/ only: the program puts that before it")
    if re.fullmatch(r"[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+){0,12}", value) is None:
        raise ValueError("use letters, digits, _ . - and single / between the levels")
    if first.startswith(("aws", "ssm")):
        raise ValueError("AWS reserves names that begin with aws or ssm: begin with another word")
    return value


def _parameter_value(value: str) -> str:
    if "{{" in value:
        raise ValueError("the Parameter Store takes {{ for a reference and refuses it: reword it")
    return value


def _master_user(value: str) -> str:
    if value in {"admin", "postgres", "rdsadmin", "root"}:
        raise ValueError("everybody tries this name first, or RDS reserves it: choose another")
    return value


AccountId = Annotated[
    str, _matching(r"\d{12}", "write all 12 digits, in quotes"), Allowed("12 digits, in quotes")
]
Region = Annotated[
    str,
    _matching(r"[a-z]{2}(-[a-z]+)+-\d", "write a region's code such as us-east-1"),
    Allowed("an AWS region's code, such as us-east-1"),
]
AvailabilityZone = Annotated[
    str,
    _matching(r"[a-z]{2}(-[a-z]+)+-\d[a-z]", "write a zone's name such as us-east-1a"),
    Allowed("an availability zone's name, such as us-east-1a"),
]
VpcCidr = Annotated[
    str,
    AfterValidator(_sized(smallest=20, largest=16)),
    Allowed("a private IPv4 range from /16 to /20"),
]
ServiceCidr = Annotated[
    str,
    AfterValidator(_sized(smallest=24, largest=12)),
    Allowed("a private IPv4 range from /12 to /24"),
]
ClientCidr = Annotated[
    str, AfterValidator(_limited_range), Allowed("an IPv4 range of /8 or smaller, never 0.0.0.0/0")
]
Retention = Annotated[
    int,
    _one_of(CLOUDWATCH_RETENTION_DAYS, "choose one of the days that CloudWatch Logs knows"),
    Allowed(f"days: {', '.join(map(str, CLOUDWATCH_RETENTION_DAYS))}"),
]
Name = Annotated[
    str,
    _matching(
        r"[a-z](-?[a-z0-9]){0,31}",
        "use lower-case letters, digits and single dashes, beginning with a letter",
    ),
    Allowed("up to 32 lower-case letters, digits and single dashes, beginning with a letter"),
]
Word = Annotated[
    str,
    _matching(r"[A-Za-z0-9]([A-Za-z0-9 ._-]{0,62}[A-Za-z0-9])?", "use a short plain name"),
    Allowed("1 to 64 letters, digits, spaces and . _ -"),
]
Text = Annotated[
    str,
    _matching(r"\S(.{0,1022}\S)?", "write one line of text"),
    Allowed("one line of 1 to 1,024 characters"),
]
Email = Annotated[
    str,
    _matching(r"[^@\s<>,;]{1,64}@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+", "write an e-mail address"),
    Allowed("an e-mail address"),
]
Date = Annotated[dt.date, BeforeValidator(_date), Allowed('a date in quotes, such as "2027-06-30"')]
RegularExpression = Annotated[
    str, AfterValidator(_compiles), Allowed("a regular expression that the whole value matches")
]
ParameterName = Annotated[
    str,
    Field(max_length=200),
    AfterValidator(_parameter_name),
    Allowed("the part after /{env}/mono-repo/, such as database/host; not beginning aws or ssm"),
]
ParameterValue = Annotated[
    str,
    Field(min_length=1, max_length=4096),
    AfterValidator(_parameter_value),
    Allowed("text of 1 to 4096 characters without {{"),
]
ParameterSource = Annotated[
    str,
    _matching(
        r"environment|region|account-id|vpc\.id|vpc\.cidr|cluster\.name"
        r"|database\.[a-z][a-z0-9-]*\.(host|port|name|username)"
        r"|workload\.[a-z][a-z0-9-]*\.url",
        "name a source that the program knows",
    ),
    Allowed(
        "environment, region, account-id, vpc.id, vpc.cidr, cluster.name, "
        "database.NAME.{host,port,name,username} or workload.NAME.url"
    ),
]
PrincipalArn = Annotated[
    str,
    _matching(
        r"arn:aws:iam::\d{12}:(root|(role|user)/[A-Za-z0-9+=,.@_/-]{1,512})",
        "write the whole ARN of a role, a user or an account's root",
    ),
    Allowed("an IAM ARN, such as arn:aws:iam::111122223333:role/reader"),
]
RoleName = Annotated[
    str,
    _matching(r"[A-Za-z0-9+=,.@_-]{1,64}", "write the name alone, with neither path nor ARN"),
    Allowed("an IAM role's name, such as operator"),
]
GitHubRepository = Annotated[
    str,
    _matching(
        r"[A-Za-z0-9](-?[A-Za-z0-9]){0,38}/[A-Za-z0-9_.-]{1,100}",
        "write owner and repository as in the repository's address",
    ),
    Allowed("OWNER/REPOSITORY on GitHub"),
]
CertificateArn = Annotated[
    str,
    _matching(
        r"arn:aws:acm:[a-z0-9-]+:\d{12}:certificate/[0-9a-f-]{36}",
        "copy the certificate's ARN from ACM",
    ),
    Allowed("an ACM certificate's ARN"),
]
ExternalId = Annotated[
    str,
    _matching(r"[A-Za-z0-9+=,.@:/_-]{8,1224}", "agree on a longer id with the other account"),
    Allowed("8 to 1,224 letters, digits and + = , . @ : / _ -"),
]
ServiceAccountSubject = Annotated[
    str,
    _matching(
        r"system:serviceaccount:[a-z0-9]([a-z0-9-]*[a-z0-9])?:[a-z0-9]([a-z0-9.-]*[a-z0-9])?",
        "write namespace and service account without wildcards",
    ),
    Allowed("system:serviceaccount:NAMESPACE:NAME"),
]
EksVersion = Annotated[
    str,
    _matching(r"1\.\d\d", 'write the minor version in quotes, such as "1.36"'),
    Allowed('a Kubernetes minor version in quotes, such as "1.36"'),
]
AddonVersion = Annotated[
    str,
    _matching(r"v\d+\.\d+\.\d+-eksbuild\.\d+", "pin the whole version that EKS lists"),
    Allowed("a pinned version, such as v1.22.4-eksbuild.3"),
]
AutoscalerVersion = Annotated[
    str,
    _matching(r"v1\.\d\d\.\d+", "write the whole release, such as v1.36.0"),
    Allowed("a release of the Cluster Autoscaler, such as v1.36.0"),
]
Stamp = Annotated[
    str,
    _matching(r"20\d\d[01]\d[0-3]\d-[0-2]\d[0-5]\d[0-5]\d", "write date and time in UTC"),
    Allowed("date and time in UTC, such as 20261231-235959"),
]
NodeRelease = Annotated[
    str,
    _matching(r"1\.\d\d\.\d+-20\d{6}", "copy the release from EKS, such as 1.36.0-20261112"),
    Allowed("a release of the EKS node image, such as 1.36.0-20261112"),
]
InstanceType = Annotated[
    str,
    _matching(r"[a-z][a-z0-9-]*\.[a-z0-9-]+", "write an instance type such as m7g.large"),
    Allowed("an EC2 instance type, such as m7g.large"),
]
PostgresVersion = Annotated[
    str,
    _matching(r"1[3-9](\.\d{1,2})?", 'write a PostgreSQL version in quotes, such as "17"'),
    Allowed('a PostgreSQL version in quotes, major or major.minor, such as "17"'),
]
InstanceClass = Annotated[
    str,
    _matching(r"db\.[a-z0-9-]+\.[a-z0-9]+", "write an instance class such as db.t4g.medium"),
    Allowed("an RDS instance class, such as db.t4g.medium"),
]
DatabaseIdentifier = Annotated[
    str,
    _matching(
        r"[a-z](-?[a-z0-9]){0,62}",
        "use lower-case letters, digits and single dashes, beginning with a letter",
    ),
    Allowed("up to 63 lower-case letters, digits and single dashes"),
]
SnapshotIdentifier = Annotated[
    str,
    _matching(r"(rds:|arn:aws:rds:[a-z0-9-]+:\d{12}:snapshot:)?[A-Za-z](-?[A-Za-z0-9:]){0,254}",
              "copy the snapshot's identifier from RDS"),
    Allowed("the identifier or ARN of an RDS snapshot"),
]  # fmt: skip
SqlName = Annotated[
    str,
    _matching(r"[a-z_][a-z0-9_]{0,62}", "use lower-case letters, digits and _"),
    Allowed("1 to 63 lower-case letters, digits and _"),
]
MasterUser = Annotated[
    SqlName,
    AfterValidator(_master_user),
    Allowed("1 to 63 lower-case letters, digits and _, but no customary administrator's name"),
]
DailyWindow = Annotated[
    str,
    _matching(r"([01]\d|2[0-3]):[0-5]\d-([01]\d|2[0-3]):[0-5]\d", "write UTC as 03:00-04:00"),
    Allowed("hours of the day in UTC, such as 03:00-04:00"),
]
WeeklyWindow = Annotated[
    str,
    _matching(
        r"(mon|tue|wed|thu|fri|sat|sun):([01]\d|2[0-3]):[0-5]\d"
        r"-(mon|tue|wed|thu|fri|sat|sun):([01]\d|2[0-3]):[0-5]\d",
        "write UTC as sun:05:00-sun:06:00",
    ),
    Allowed("hours of the week in UTC, such as sun:05:00-sun:06:00"),
]
EndpointService = Annotated[
    str,
    _matching(r"[a-z0-9][a-z0-9.-]{0,62}", "write a service's short name such as ecr.api"),
    Allowed("a service's short name as in com.amazonaws.REGION.NAME, such as ecr.api"),
]
NodePort = Annotated[int, Field(ge=30000, le=32767), Allowed("a whole number from 30000 to 32767")]
HttpPath = Annotated[
    str,
    _matching(r"/[A-Za-z0-9/_.-]{0,199}", "begin with / and use plain characters"),
    Allowed("a path such as /health"),
]
BackendUrl = Annotated[
    str,
    _matching(
        r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[^?\s]*)?(\?\S*)?|https://[A-Za-z0-9.:/-]+",
        "write the line that the bootstrap printed, or a Pulumi Cloud address",
    ),
    Allowed("s3://BUCKET?region=REGION or the https:// address of a Pulumi Cloud"),
]
SecretsProvider = Annotated[
    str,
    _matching(
        r"awskms://\S+|default",
        "use the environment's key: awskms://alias/mono-repo-ENV-pulumi-state?region=REGION",
    ),
    Allowed("awskms://KEY?region=REGION, or default with a Pulumi Cloud"),
]
ResourceGlob = Annotated[
    str,
    _matching(r"[A-Za-z0-9:/_.*?\[\]!-]{1,200}", "write TYPE::NAME as in a URN; * stands for any"),
    Allowed("a glob on TYPE::NAME, such as aws:rds/instance:Instance::*"),
]
ControlId = Annotated[
    str,
    _matching(r"[A-Za-z0-9][A-Za-z0-9._-]{1,39}", "write a control's id such as CKV_AWS_338"),
    Allowed("a control's id, such as CKV_AWS_338 or RDS.23"),
]
LabelKey = Annotated[
    str,
    _matching(
        r"([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?",
        "write a Kubernetes label key",
    ),
    Allowed("a Kubernetes label key"),
]
LabelValue = Annotated[
    str,
    _matching(r"([A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?)?", "write a label value in quotes"),
    Allowed("a Kubernetes label value, in quotes"),
]
TagKey = Annotated[
    str,
    _matching(r"(?!aws:)[A-Za-z0-9 +=._:/@-]{1,128}", "AWS reserves aws: and some characters"),
    Allowed("a tag key of 1 to 128 characters, not beginning with aws:"),
]
TagValue = Annotated[
    str,
    _matching(r"[A-Za-z0-9 +=._:/@-]{0,256}", "use letters, digits, spaces and + = . _ : / @ -"),
    Allowed("a tag value of up to 256 characters"),
]
