"""Corrections to moto in what a cluster stands on: interfaces, launch templates, identities."""

from __future__ import annotations

import threading
from typing import Any


def install() -> None:
    """Apply all corrections to the imported moto; once a process."""
    _delete_interfaces_with_their_instance()
    _leave_the_default_key_of_volumes_to_aws()
    _answer_with_the_tags_that_a_launch_template_has_now()
    _change_clients_of_identity_providers()


def _delete_interfaces_with_their_instance() -> None:
    # EC2 deletes an interface that came with an instance, unless told to keep it; moto keeps it.
    from moto.ec2.models.instances import Instance

    original = Instance.prep_nics

    def prep_nics(self: Any, nic_spec: list[dict[str, Any]], *args: Any, **kwargs: Any) -> None:
        nics = [dict(nic) for nic in nic_spec] or [{"DeviceIndex": 0}]
        for nic in nics:
            if "NetworkInterfaceId" not in nic:
                nic.setdefault("DeleteOnTermination", True)
        original(self, nics, *args, **kwargs)

    setattr(Instance, prep_nics.__name__, prep_nics)


def _leave_the_default_key_of_volumes_to_aws() -> None:
    # The key that comes with the first encrypted volume is AWS's; moto says it is the account's,
    # and makes two of them for two volumes at once.
    from moto.ec2.models.elastic_block_store import EBSBackend
    from moto.kms.models import kms_backends

    original = EBSBackend._create_default_encryption_key  # noqa: SLF001 - what is corrected
    one_at_a_time = threading.Lock()

    def _create_default_encryption_key(self: Any) -> Any:
        with one_at_a_time:
            arn = original(self)
        kms_backends[self.account_id][self.region_name].describe_key(arn).key_manager = "AWS"
        return arn

    setattr(EBSBackend, _create_default_encryption_key.__name__, _create_default_encryption_key)


def _answer_with_the_tags_that_a_launch_template_has_now() -> None:
    # moto answers with those it was made with.
    from moto.ec2.models.launch_templates import LaunchTemplate

    def tags(self: Any) -> Any:
        return self.get_tags()

    def leave(self: Any, value: Any) -> None:
        """Let moto's constructor assign what is not kept."""

    setattr(LaunchTemplate, tags.__name__, property(tags, leave))


def _change_clients_of_identity_providers() -> None:
    from moto.core.responses import EmptyResult
    from moto.iam.responses import IamResponse

    def clients(backend: Any, arn: str) -> list[str]:
        found: list[str] = backend.get_open_id_connect_provider(arn).client_id_list
        return found

    def add_client_id_to_open_id_connect_provider(self: Any) -> Any:
        known = clients(self.backend, self._get_param("OpenIDConnectProviderArn"))
        if self._get_param("ClientID") not in known:
            known.append(self._get_param("ClientID"))
        return EmptyResult()

    def remove_client_id_from_open_id_connect_provider(self: Any) -> Any:
        known = clients(self.backend, self._get_param("OpenIDConnectProviderArn"))
        if self._get_param("ClientID") in known:
            known.remove(self._get_param("ClientID"))
        return EmptyResult()

    for operation in (
        add_client_id_to_open_id_connect_provider,
        remove_client_id_from_open_id_connect_provider,
    ):
        setattr(IamResponse, operation.__name__, operation)
