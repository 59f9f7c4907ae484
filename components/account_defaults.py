"""AccountDefaults: what AWS leaves open in a new account, closed once for everything in it.

The password policy and the block on public buckets hold for the account; encrypted disks, private
snapshots, tokens for instance metadata and the access analyzer are set region by region.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from pulumi import ComponentResource, Output, ProviderResource, ResourceOptions
from pulumi_aws.accessanalyzer.analyzer import Analyzer
from pulumi_aws.ebs.encryption_by_default import EncryptionByDefault
from pulumi_aws.ebs.snapshot_block_public_access import SnapshotBlockPublicAccess
from pulumi_aws.ec2.instance_metadata_defaults import InstanceMetadataDefaults
from pulumi_aws.iam.account_password_policy import AccountPasswordPolicy
from pulumi_aws.s3.account_public_access_block import AccountPublicAccessBlock

PASSWORD_LENGTH = 14
PASSWORD_DAYS = 90
PASSWORDS_REMEMBERED = 24


@dataclass(frozen=True, kw_only=True)
class AccountDefaultsArgs:
    """The account, and the regions that anything is made in."""

    account_id: str
    analyzer_name: str
    secondary_provider: ProviderResource
    """Provider of the region for copies."""
    tags: Mapping[str, str]


class AccountDefaults(ComponentResource):
    """The account's and its regions' defaults."""

    analyzer_arn: Output[str]
    """Analyzer of the home region: what is shared with other accounts."""

    def __init__(
        self, name: str, args: AccountDefaultsArgs, opts: ResourceOptions | None = None
    ) -> None:
        super().__init__("mono-repo:index:AccountDefaults", name, {}, opts)
        child = ResourceOptions(parent=self)
        AccountPasswordPolicy(
            name,
            minimum_password_length=PASSWORD_LENGTH,
            require_lowercase_characters=True,
            require_uppercase_characters=True,
            require_numbers=True,
            require_symbols=True,
            max_password_age=PASSWORD_DAYS,
            password_reuse_prevention=PASSWORDS_REMEMBERED,
            allow_users_to_change_password=True,
            # Else whoever is away for a while could not even change the password.
            hard_expiry=False,
            opts=child,
        )
        AccountPublicAccessBlock(
            name,
            account_id=args.account_id,
            block_public_acls=True,
            block_public_policy=True,
            ignore_public_acls=True,
            restrict_public_buckets=True,
            opts=child,
        )
        home = RegionDefaults(
            f"{name}-home",
            RegionDefaultsArgs(analyzer_name=args.analyzer_name, tags=args.tags),
            opts=child,
        )
        RegionDefaults(
            f"{name}-secondary",
            RegionDefaultsArgs(analyzer_name=args.analyzer_name, tags=args.tags),
            opts=ResourceOptions(parent=self, providers=[args.secondary_provider]),
        )
        self.analyzer_arn = home.analyzer_arn
        self.register_outputs({"analyzer_arn": self.analyzer_arn})


@dataclass(frozen=True, kw_only=True)
class RegionDefaultsArgs:
    """What the region's analyzer is called."""

    analyzer_name: str
    tags: Mapping[str, str]


class RegionDefaults(ComponentResource):
    """The defaults of one region, and its access analyzer."""

    analyzer_arn: Output[str]
    """The analyzer: it finds what is shared with other accounts or everybody."""

    def __init__(
        self, name: str, args: RegionDefaultsArgs, opts: ResourceOptions | None = None
    ) -> None:
        super().__init__("mono-repo:index:RegionDefaults", name, {}, opts)
        child = ResourceOptions(parent=self)
        EncryptionByDefault(name, enabled=True, opts=child)
        SnapshotBlockPublicAccess(name, state="block-all-sharing", opts=child)
        InstanceMetadataDefaults(
            name,
            http_tokens="required",
            http_put_response_hop_limit=1,
            opts=child,
        )
        analyzer = Analyzer(
            name, analyzer_name=args.analyzer_name, type="ACCOUNT", tags=args.tags, opts=child
        )
        self.analyzer_arn = analyzer.arn
        self.register_outputs({"analyzer_arn": self.analyzer_arn})
