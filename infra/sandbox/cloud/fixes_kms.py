"""A key that is disabled or pending deletion is of no use, to KMS or to what relies on it."""

from __future__ import annotations

from typing import Any, Final


def install() -> None:
    """Apply all corrections to the imported moto; once a process."""
    _take_arns_and_change_states_as_aws_does()
    _refuse_keys_that_are_not_enabled()
    _refuse_them_for_parameters()
    _refuse_them_for_secrets()
    _refuse_them_for_objects()


def _error(code: str, message: str) -> Exception:
    from moto.core.exceptions import JsonRESTError

    error: Exception = JsonRESTError(code, message)
    return error


def _pending(key: Any) -> Exception:
    return _error("KMSInvalidStateException", f"{key.arn} is pending deletion.")


def _take_arns_and_change_states_as_aws_does() -> None:
    from moto.kms.models import KmsBackend
    from moto.kms.responses import KmsResponse

    disable, enable = KmsBackend.disable_key, KmsBackend.enable_key
    schedule, cancel = KmsBackend.schedule_key_deletion, KmsBackend.cancel_key_deletion
    cancel_response = KmsResponse.cancel_key_deletion
    schedule_response = KmsResponse.schedule_key_deletion

    def settled(backend: Any, key_id: str) -> str:
        key = backend.keys[backend.get_key_id(key_id)]
        if key.key_state == "PendingDeletion":
            raise _pending(key)
        return str(key.id)

    def disable_key(self: Any, key_id: str) -> None:
        disable(self, settled(self, key_id))

    def enable_key(self: Any, key_id: str) -> None:
        enable(self, settled(self, key_id))

    def schedule_key_deletion(self: Any, key_id: str, pending_window_in_days: int) -> float:
        return schedule(self, settled(self, key_id), pending_window_in_days)

    def cancel_key_deletion(self: Any, key_id: str) -> None:
        key = self.keys[self.get_key_id(key_id)]
        if key.key_state != "PendingDeletion":
            raise _error("KMSInvalidStateException", f"{key.arn} is not pending deletion.")
        cancel(self, key.id)
        key.enabled = False

    for method in (disable_key, enable_key, schedule_key_deletion, cancel_key_deletion):
        setattr(KmsBackend, method.__name__, method)
    _answer_with_arns(KmsResponse, cancel_response)
    _answer_with_arns(KmsResponse, schedule_response)


def _answer_with_arns(responses: Any, original: Any) -> None:
    import json

    def answer(self: Any) -> str:
        told = json.loads(original(self))
        backend = self.kms_backend
        told["KeyId"] = backend.keys[backend.get_key_id(told["KeyId"])].arn
        if "DeletionDate" in told:
            told.update(KeyState="PendingDeletion", PendingWindowInDays=_window(self))
        return json.dumps(told)

    setattr(responses, original.__name__, answer)


def _window(response: Any) -> int:
    given = response._get_param("PendingWindowInDays")  # noqa: SLF001 - moto's way to parameters
    return 30 if given is None else int(given)


def _refuse_keys_that_are_not_enabled() -> None:
    from moto.kms.models import KmsBackend

    encrypt, decrypt = KmsBackend.encrypt, KmsBackend.decrypt

    def checked(backend: Any, key_id: str) -> None:
        key = backend.keys[backend.any_id_to_key_id(key_id)]
        if key.key_state == "PendingDeletion":
            raise _pending(key)
        if key.key_state == "Disabled":
            raise _error("DisabledException", f"{key.arn} is disabled.")

    def encrypt_(self: Any, key_id: str, *args: Any, **kwargs: Any) -> Any:
        checked(self, key_id)
        return encrypt(self, key_id, *args, **kwargs)

    def decrypt_(self: Any, *args: Any, **kwargs: Any) -> Any:
        plain, arn = decrypt(self, *args, **kwargs)
        checked(self, arn)
        return plain, arn

    # A data key is encrypted under its key, so that generating one is checked too.
    setattr(KmsBackend, "encrypt", encrypt_)  # noqa: B010 - the name is taken
    setattr(KmsBackend, "decrypt", decrypt_)  # noqa: B010 - the name is taken


def _state(account: str, region: str, key_id: str | None) -> tuple[str, str]:
    """Give a key's ARN and state; what is not known here counts as enabled."""
    from moto.kms.models import kms_backends

    backend = kms_backends[account][region]
    if key_id:
        try:
            key = backend.keys[backend.any_id_to_key_id(key_id)]
        except (AttributeError, KeyError, ValueError):  # an alias that is not there is None
            return key_id, "Enabled"
        return str(key.arn), str(key.key_state)
    return "", "Enabled"


def _refuse_them_for_parameters() -> None:
    from moto.ssm.models import SimpleSystemManagerBackend
    from moto.ssm.responses import SimpleSystemManagerResponse as Response

    put = SimpleSystemManagerBackend.put_parameter

    def check(backend: Any, key_id: str | None) -> None:
        arn, state = _state(backend.account_id, backend.region_name, key_id)
        if state != "Enabled":
            why = "is pending deletion" if state == "PendingDeletion" else "is disabled"
            code = "KMSInvalidStateException" if state == "PendingDeletion" else "DisabledException"
            raise _error(
                "InvalidKeyId",
                f"{arn} {why}. (Service: AWSKMS; Status Code: 400; Error Code: {code})",
            )

    def put_parameter(
        self: Any,
        name: str,
        description: str,
        value: str,
        parameter_type: str,
        allowed_pattern: str,
        keyid: str,
        *more: Any,
        **named: Any,
    ) -> Any:
        if parameter_type == "SecureString":
            check(self, keyid)
        answer = put(
            self, name, description, value, parameter_type, allowed_pattern, keyid, *more, **named
        )
        # What is encrypted remembers its key; the alias may go before it.
        keys = self.__dict__.setdefault("sandbox_keys", {})
        keys[name] = _state(self.account_id, self.region_name, keyid)[0]
        return answer

    setattr(SimpleSystemManagerBackend, "put_parameter", put_parameter)  # noqa: B010

    def decrypting(original: Any) -> Any:
        def answer(self: Any) -> Any:
            told = original(self)
            if self._get_param("WithDecryption"):
                found = told.result.get("Parameters") or [told.result.get("Parameter")]
                for parameter in found:
                    if parameter and parameter["Type"] == "SecureString":
                        keys = self.ssm_backend.__dict__.get("sandbox_keys", {})
                        check(self.ssm_backend, keys.get(parameter["Name"]))
            return told

        return answer

    for name in ("get_parameter", "get_parameters", "get_parameters_by_path"):
        setattr(Response, name, decrypting(getattr(Response, name)))


def _refuse_them_for_secrets() -> None:
    from moto.secretsmanager.exceptions import InvalidRequestException
    from moto.secretsmanager.models import SecretsManagerBackend as Backend

    put, get, create = Backend.put_secret_value, Backend.get_secret_value, Backend.create_secret

    def check(backend: Any, key_id: str | None, code: str) -> None:
        arn, state = _state(backend.account_id, backend.region_name, key_id)
        if state != "Enabled":
            raise _error(code, f"Secrets Manager can't use the key {arn}: its state is {state}.")

    def of(backend: Any, secret_id: str) -> str | None:
        secret = backend.secrets.get(secret_id)
        return secret.kms_key_id if secret is not None else None

    def put_secret_value(self: Any, secret_id: str, *args: Any, **kwargs: Any) -> Any:
        secret = self.secrets.get(secret_id)
        if secret is not None and secret.is_deleted():
            raise InvalidRequestException(
                "You can't perform this operation on the secret because it was marked for deletion."
            )
        check(self, of(self, secret_id), "EncryptionFailure")
        return put(self, secret_id, *args, **kwargs)

    def get_secret_value(self: Any, secret_id: str, *args: Any, **kwargs: Any) -> Any:
        check(self, of(self, secret_id), "DecryptionFailure")
        return get(self, secret_id, *args, **kwargs)

    def create_secret(self: Any, *args: Any, **kwargs: Any) -> Any:
        check(self, kwargs.get("kms_key_id"), "EncryptionFailure")
        return create(self, *args, **kwargs)

    for method in (put_secret_value, get_secret_value, create_secret):
        setattr(Backend, method.__name__, method)


_S3_ERRORS: Final = {
    "Disabled": ("KMS.DisabledException", "{} is disabled."),
    "PendingDeletion": ("KMS.KMSInvalidStateException", "{} is pending deletion."),
}


def _refuse_them_for_objects() -> None:
    from moto.s3.exceptions import S3ClientError
    from moto.s3.models import S3Backend
    from moto.s3.responses import S3Response

    put, get = S3Backend.put_object, S3Response.get_object

    def check(backend: Any, bucket_name: str, key_id: str | None) -> None:
        if not key_id:
            return
        region = backend.get_bucket(bucket_name).region_name
        arn, state = _state(backend.account_id, region, key_id)
        if state in _S3_ERRORS:
            code, text = _S3_ERRORS[state]
            raise S3ClientError(code, text.format(arn))

    def put_object(self: Any, bucket_name: str, key_name: str, *args: Any, **kwargs: Any) -> Any:
        key_id = kwargs.get("kms_key_id") or _default_key(self, bucket_name)
        check(self, bucket_name, key_id)
        return put(self, bucket_name, key_name, *args, **kwargs)

    def get_object(self: Any) -> Any:
        version = self.querystring.get("versionId", [None])[0]
        key = self.backend.get_object(self.bucket_name, self.parse_key_name(), version_id=version)
        check(self.backend, self.bucket_name, getattr(key, "kms_key_id", None))
        return get(self)

    setattr(S3Backend, "put_object", put_object)  # noqa: B010
    setattr(S3Response, "get_object", get_object)  # noqa: B010


def _default_key(backend: Any, bucket_name: str) -> str | None:
    """Give the key that a bucket encrypts with unless told otherwise."""
    rules = (backend.get_bucket(bucket_name).encryption or {}).get("Rule") or {}
    rule = rules[0] if isinstance(rules, list) else rules
    key = (rule.get("ApplyServerSideEncryptionByDefault") or {}).get("KMSMasterKeyID")
    return str(key) if key else None
