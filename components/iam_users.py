"""IamUsers: the people and machines of an environment, as IAM users that groups give permissions.

It owns the users, the groups, who is a member of what, and one empty secret a user for the access
key that the operators' commands issue. Keys never pass through here, and so never into state.
What a group may do is a policy that is made with the foundation: whoever deploys an environment
decides who is in a group, not what the group is allowed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pulumi import ComponentResource, Input, Output, ResourceOptions
from pulumi_aws.iam.group import Group
from pulumi_aws.iam.group_policy_attachment import GroupPolicyAttachment
from pulumi_aws.iam.user import User
from pulumi_aws.iam.user_group_membership import UserGroupMembership
from pulumi_aws.secretsmanager.secret import Secret

from components.encryption_key import EncryptionKey, EncryptionKeyArgs
from components.people_policies import OWNER_TAG, owner_only


@dataclass(frozen=True, kw_only=True)
class UserGroup:
    """An IAM group and the managed policy that says what its members may do."""

    name: str
    """What the rest of the program calls it, as in `sre`."""
    group_name: str
    policy_arn: str


@dataclass(frozen=True, kw_only=True)
class Person:
    """A human being with an IAM user."""

    name: str
    """What the rest of the program calls them, as in `jane-doe`."""
    user_name: str
    email: str
    team: str
    groups: Sequence[str]
    """Names of `UserGroup`s."""
    secret_name: str
    """Of the secret for their access key."""


@dataclass(frozen=True, kw_only=True)
class ServiceAccount:
    """A machine with an IAM user."""

    name: str
    """What the rest of the program calls it, as in `cicd-service`; no person may be called so."""
    user_name: str
    group: str
    """Name of one of `IamUsersArgs.service_groups`."""
    secret_name: str
    """Of the secret for its access key."""


@dataclass(frozen=True, kw_only=True)
class IamUsersArgs:
    """Who there is, what they are members of, and what caps all of them."""

    account_id: str
    everyone: UserGroup
    """What every person is a member of: self-service, and nothing without MFA."""
    groups: Sequence[UserGroup]
    """Groups of people."""
    service_groups: Sequence[UserGroup]
    """Groups of machines, one for each kind of permissions."""
    people: Sequence[Person]
    service_accounts: Sequence[ServiceAccount]
    people_path: str
    services_path: str
    """IAM paths with slashes at both ends: policies tell people and machines apart by them."""
    permissions_boundary_arn: Input[str]
    secret_recovery_days: int
    """Days, 7 to 30, in which a deleted secret keeps its name blocked; 0 frees it at once."""
    key_alias: str
    key_deletion_window_days: int
    protect: bool
    """Refuse to delete or replace the key of the secrets; False only for a teardown."""
    tags: Mapping[str, str]


class IamUsers(ComponentResource):
    """The IAM users and groups of one environment."""

    group_arns: Mapping[str, Output[str]]
    """Group of people -> its ARN."""
    user_names: Mapping[str, Output[str]]
    """Person or service account, by the name in the arguments -> the IAM user."""
    user_arns: Mapping[str, Output[str]]
    """Person or service account -> the IAM user's ARN."""
    secret_arns: Mapping[str, Output[str]]
    """Person or service account -> the secret of its access key."""
    key_arn: Output[str]
    """KMS key of the secrets."""

    def __init__(self, name: str, args: IamUsersArgs, opts: ResourceOptions | None = None) -> None:
        super().__init__("mono-repo:index:IamUsers", name, {}, opts)
        self._name = name
        self._args = args
        self._child = ResourceOptions(parent=self)
        self.key_arn = EncryptionKey(
            f"{name}-access-keys",
            EncryptionKeyArgs(
                account_id=args.account_id,
                description="Secrets with the access keys of people and machines",
                alias=args.key_alias,
                deletion_window_days=args.key_deletion_window_days,
                protect=args.protect,
                tags=args.tags,
            ),
            opts=self._child,
        ).arn
        groups = {
            group.name: self._group(group)
            for group in (args.everyone, *args.groups, *args.service_groups)
        }
        users = {person.name: self._person(person, groups) for person in args.people}
        users |= {
            account.name: self._service_account(account, groups)
            for account in args.service_accounts
        }
        self.group_arns = {group.name: groups[group.name].arn for group in args.groups}
        self.user_names = {key: user.name for key, (user, _) in users.items()}
        self.user_arns = {key: user.arn for key, (user, _) in users.items()}
        self.secret_arns = {key: secret.arn for key, (_, secret) in users.items()}
        self.register_outputs(
            {
                "group_arns": self.group_arns,
                "user_names": self.user_names,
                "user_arns": self.user_arns,
                "secret_arns": self.secret_arns,
                "key_arn": self.key_arn,
            }
        )

    def _group(self, group: UserGroup) -> Group:
        made = Group(f"{self._name}-{group.name}", name=group.group_name, opts=self._child)
        GroupPolicyAttachment(
            f"{self._name}-{group.name}",
            group=made.name,
            policy_arn=group.policy_arn,
            opts=self._child,
        )
        return made

    def _person(self, person: Person, groups: Mapping[str, Group]) -> tuple[User, Secret]:
        user = self._user(
            person.name,
            person.user_name,
            self._args.people_path,
            {"email": person.email, "team": person.team},
        )
        self._membership(person.name, user, [self._args.everyone.name, *person.groups], groups)
        return user, self._secret(person.name, person.secret_name, person.user_name, user)

    def _service_account(
        self, account: ServiceAccount, groups: Mapping[str, Group]
    ) -> tuple[User, Secret]:
        user = self._user(account.name, account.user_name, self._args.services_path, {})
        self._membership(account.name, user, [account.group], groups)
        return user, self._secret(account.name, account.secret_name, account.user_name, user)

    def _user(self, name: str, user_name: str, path: str, tags: Mapping[str, str]) -> User:
        return User(
            f"{self._name}-{name}",
            name=user_name,
            path=path,
            permissions_boundary=self._args.permissions_boundary_arn,
            # Keys, passwords and MFA devices are made elsewhere and would hold the user back.
            force_destroy=True,
            tags={**self._args.tags, **tags},
            opts=self._child,
        )

    def _membership(
        self, name: str, user: User, members_of: Sequence[str], groups: Mapping[str, Group]
    ) -> None:
        UserGroupMembership(
            f"{self._name}-{name}",
            user=user.name,
            groups=[groups[group].name for group in members_of],
            opts=self._child,
        )

    def _secret(self, name: str, secret_name: str, user_name: str, owner: User) -> Secret:
        return Secret(
            f"{self._name}-{name}",
            name=secret_name,
            description=f"Access key of {user_name}",
            kms_key_id=self.key_arn,
            policy=owner.arn.apply(owner_only),
            recovery_window_in_days=self._args.secret_recovery_days,
            tags={**self._args.tags, OWNER_TAG: user_name},
            opts=self._child,
        )
