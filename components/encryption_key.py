"""EncryptionKey: one customer-managed KMS key that rotates, and the alias it is found by."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pulumi import ComponentResource, Output, ResourceOptions
from pulumi_aws.kms.alias import Alias
from pulumi_aws.kms.key import Key

from components.iam_policies import Statement, key_administration, policy_document


@dataclass(frozen=True, kw_only=True)
class EncryptionKeyArgs:
    """What a key is for and who besides the account's own IAM policies may use it."""

    account_id: str
    description: str
    alias: str
    """With its prefix, as in `alias/mono-repo-dev-databases`."""
    deletion_window_days: int
    """Days, 7 to 30, in which a scheduled deletion can be taken back."""
    protect: bool
    """Refuse to delete or replace the key: what it encrypts would be lost."""
    tags: Mapping[str, str]
    users: Sequence[Statement] = ()
    """Statements for AWS services; roles are let in by their own policies."""


class EncryptionKey(ComponentResource):
    """A symmetric key under the account's own control."""

    arn: Output[str]
    """ARN of the key itself: an alias can be pointed elsewhere."""

    def __init__(
        self, name: str, args: EncryptionKeyArgs, opts: ResourceOptions | None = None
    ) -> None:
        super().__init__("mono-repo:index:EncryptionKey", name, {}, opts)
        key = Key(
            name,
            description=args.description,
            enable_key_rotation=True,
            deletion_window_in_days=args.deletion_window_days,
            policy=policy_document([key_administration(args.account_id), *args.users]),
            tags=args.tags,
            opts=ResourceOptions(parent=self, protect=args.protect),
        )
        alias = Alias(
            name, name=args.alias, target_key_id=key.key_id, opts=ResourceOptions(parent=self)
        )
        # Whoever is handed the key may look it up by its alias, too.
        self.arn = Output.all(key.arn, alias.arn).apply(lambda arns: str(arns[0]))
        self.register_outputs({"arn": self.arn})
