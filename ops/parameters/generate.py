"""Values of secrets: made by the operating system's generator, never by default.

A value is returned, and nothing else is done with it: it is not logged and stands in no message.
"""

from __future__ import annotations

import base64
import re
import secrets
import string
import uuid
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from ops.errors import OpsError

if TYPE_CHECKING:
    from infra.settings import Generator, Parameter

# What stands unescaped in a URL, a shell word and a .env file, so that nobody has to quote it.
_SYMBOLS: Final = "-._~"
_CLASSES: Final = (string.ascii_lowercase, string.ascii_uppercase, string.digits, _SYMBOLS)
_PASSWORD_ALPHABET: Final = "".join(_CLASSES)
_TRIES: Final = 1000


def password(length: int) -> str:
    """Give letters, digits and `-._~`, at least one of each kind; it begins with a letter."""
    while True:
        value = secrets.choice(string.ascii_letters) + "".join(
            secrets.choice(_PASSWORD_ALPHABET) for _ in range(length - 1)
        )
        if all(any(character in kind for character in value) for kind in _CLASSES):
            return value


def hexadecimal(length: int) -> str:
    """Give `length` hexadecimal digits."""
    return secrets.token_hex((length + 1) // 2)[:length]


def base64_bytes(length: int) -> str:
    """Give `length` random bytes in base64."""
    return base64.b64encode(secrets.token_bytes(length)).decode("ascii")


def random_uuid(_length: int) -> str:
    """Give a random UUID (version 4)."""
    return str(uuid.UUID(bytes=secrets.token_bytes(16), version=4))


_KINDS: Final[Mapping[str, Callable[[int], str]]] = {
    "password": password,
    "hex": hexadecimal,
    "base64": base64_bytes,
    "uuid": random_uuid,
}


def value(generator: Generator) -> str:
    """Give a new value as the catalogue's generator says."""
    return _KINDS[generator.kind](generator.length)


def matching_value(parameter: Parameter) -> str:
    """Give a new value that also matches the entry's pattern, where it has one.

    Raises `OpsError` where the generator does not make such a value: the catalogue then
    contradicts itself.
    """
    generator = parameter.generator
    if generator is None:
        raise OpsError(f"{parameter.name} has no generator in the catalogue: nothing was made.")
    if parameter.pattern is None:
        return value(generator)
    pattern = re.compile(parameter.pattern)
    for _ in range(_TRIES):
        candidate = value(generator)
        if pattern.fullmatch(candidate):
            return candidate
    raise OpsError(
        f"No value for {parameter.name} was made: of {_TRIES} values of its generator "
        f"({generator.kind}, {generator.length}) none matches its pattern {parameter.pattern!r}. "
        "Correct one of the two in the stack file."
    )
