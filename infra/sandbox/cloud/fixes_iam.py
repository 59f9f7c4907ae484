"""Corrections to moto's IAM users and groups and to its secrets: what AWS refuses, and keeps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def install() -> None:
    """Apply all corrections to the imported moto; once a process."""
    _keep_boundaries_of_users()
    _keep_tags_of_renamed_users()
    _move_groups_that_keep_their_name()
    _refuse_to_delete_users_that_hold_something()
    _refuse_to_delete_groups_that_hold_something()
    _refuse_to_delete_mfa_devices_in_use()
    _block_names_of_secrets_in_their_recovery_window()
    _clear_descriptions_of_secrets()


def _keep_boundaries_of_users() -> None:
    from moto.core.responses import EmptyResult
    from moto.iam.models import User
    from moto.iam.responses import IamResponse

    create = IamResponse.create_user

    def permissions_boundary(self: Any) -> dict[str, str] | None:
        arn = getattr(self, "permissions_boundary_arn", None)
        if arn is None:
            return None
        return {"PermissionsBoundaryType": "Policy", "PermissionsBoundaryArn": arn}

    def bound(response: Any, arn: str | None) -> None:
        user = response.backend.get_user(response._get_param("UserName"))  # noqa: SLF001
        user.permissions_boundary_arn = arn

    def create_user(self: Any) -> Any:
        answer = create(self)
        bound(self, self._get_param("PermissionsBoundary"))
        return answer

    def put_user_permissions_boundary(self: Any) -> Any:
        bound(self, self._get_param("PermissionsBoundary"))
        return EmptyResult()

    def delete_user_permissions_boundary(self: Any) -> Any:
        bound(self, None)
        return EmptyResult()

    setattr(User, "permissions_boundary", property(permissions_boundary))  # noqa: B010
    for method in (create_user, put_user_permissions_boundary, delete_user_permissions_boundary):
        _replace(IamResponse, method)


def _keep_tags_of_renamed_users() -> None:
    # moto files tags under the ARN, which changes with the name and the path.
    from moto.iam.models import IAMBackend

    original = IAMBackend.update_user

    def update_user(
        self: Any, user_name: str, new_path: str | None = None, new_user_name: str | None = None
    ) -> None:
        before = self.users[user_name].arn if user_name in self.users else ""
        original(self, user_name, new_path, new_user_name)
        after = self.users[new_user_name or user_name].arn
        if after != before:
            tags = self.tagger.list_tags_for_resource(before)["Tags"]
            self.tagger.delete_all_tags_for_resource(before)
            self.tagger.tag_resource(after, tags)

    _replace(IAMBackend, update_user)


def _move_groups_that_keep_their_name() -> None:
    from moto.iam.models import IAMBackend

    original = IAMBackend.update_group

    def update_group(
        self: Any, group_name: str, new_group_name: str | None, new_path: str | None
    ) -> None:
        original(self, group_name, new_group_name, new_path)
        if new_path:
            self.get_group(new_group_name or group_name).path = new_path

    _replace(IAMBackend, update_group)


def _refuse_to_delete_users_that_hold_something() -> None:
    from moto.iam.models import IAMBackend

    original = IAMBackend.delete_user

    def delete_user(self: Any, user_name: str) -> None:
        user = self.get_user(user_name)
        _refuse_while(
            {
                "remove users from group": self.get_groups_for_user(user_name),
                "delete access keys": user.access_keys,
                "delete login profile": user.password,
                "deactivate MFA device": user.mfa_devices,
                "delete SSH public keys": user.ssh_public_keys,
                "delete signing certificates": user.signing_certificates,
            }
        )
        original(self, user_name)

    _replace(IAMBackend, delete_user)


def _refuse_to_delete_groups_that_hold_something() -> None:
    from moto.iam.models import IAMBackend

    original = IAMBackend.delete_group

    def delete_group(self: Any, group_name: str) -> None:
        group = self.get_group(group_name)
        _refuse_while(
            {
                "remove users from group": group.users,
                "detach all policies": group.managed_policies,
                "delete policies": group.policies,
            }
        )
        original(self, group_name)

    _replace(IAMBackend, delete_group)


def _refuse_while(held: dict[str, Any]) -> None:
    """Raise IAM's refusal for the first of what has to be done before -> what is still there."""
    from moto.iam.exceptions import DeleteConflictException

    for remedy, what in held.items():
        if what:
            raise DeleteConflictException(f"Cannot delete entity, must {remedy} first.")


def _refuse_to_delete_mfa_devices_in_use() -> None:
    from moto.iam.exceptions import DeleteConflictException
    from moto.iam.models import IAMBackend

    original = IAMBackend.delete_virtual_mfa_device

    def delete_virtual_mfa_device(self: Any, serial_number: str) -> None:
        device = self.virtual_mfa_devices.get(serial_number)
        if device is not None and device.user is not None:
            raise DeleteConflictException("MFA VirtualDevice in use. Must deactivate first.")
        original(self, serial_number)

    _replace(IAMBackend, delete_virtual_mfa_device)


def _block_names_of_secrets_in_their_recovery_window() -> None:
    from moto.secretsmanager.exceptions import InvalidRequestException
    from moto.secretsmanager.models import SecretsManagerBackend

    original = SecretsManagerBackend.create_secret

    def create_secret(self: Any, name: str, *args: Any, **kwargs: Any) -> Any:
        there = self.secrets.get(name)
        if there is not None and there.is_deleted():
            raise InvalidRequestException(
                "You can't create this secret because a secret with this name is already "
                "scheduled for deletion."
            )
        return original(self, name, *args, **kwargs)

    _replace(SecretsManagerBackend, create_secret)


def _clear_descriptions_of_secrets() -> None:
    from moto.secretsmanager.models import SecretsManagerBackend

    original = SecretsManagerBackend.update_secret

    def update_secret(self: Any, secret_id: str, **changes: Any) -> Any:
        answer = original(self, secret_id, **changes)
        if changes.get("description") == "":
            self.secrets[secret_id].description = ""
        return answer

    _replace(SecretsManagerBackend, update_secret)


def _replace(owner: type, method: Callable[..., Any]) -> None:
    """Put a method in the place of moto's own of that name."""
    setattr(owner, method.__name__, method)
