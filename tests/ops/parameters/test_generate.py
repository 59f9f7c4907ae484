"""Generated values: strong, of the declared form, and never told."""

from __future__ import annotations

import base64
import re
import uuid

import pytest

from infra.settings import Generator, Parameter
from ops.errors import OpsError
from ops.parameters import generate


def _parameter(generator: Generator | None, pattern: str | None = None) -> Parameter:
    return Parameter(
        name="api/secret_key",
        type="SecureString",
        owner="operator",
        category="api",
        description="A key",
        generator=generator,
        pattern=pattern,
    )


@pytest.mark.parametrize("length", [16, 32, 512])
def test_a_password_has_the_length_and_every_kind_of_character(length: int) -> None:
    value = generate.value(Generator(kind="password", length=length))
    assert len(value) == length
    for kind in ("[a-z]", "[A-Z]", "[0-9]", "[-._~]"):
        assert re.search(kind, value)
    assert re.fullmatch(r"[A-Za-z][A-Za-z0-9._~-]*", value), "no shell, URL or .env quotes it"


@pytest.mark.parametrize("length", [16, 33])
def test_a_hex_value_has_so_many_digits(length: int) -> None:
    assert re.fullmatch(
        f"[0-9a-f]{{{length}}}", generate.value(Generator(kind="hex", length=length))
    )


def test_a_base64_value_has_so_many_bytes() -> None:
    assert len(base64.b64decode(generate.value(Generator(kind="base64", length=48)))) == 48


def test_a_uuid_is_a_random_one() -> None:
    assert uuid.UUID(generate.value(Generator(kind="uuid"))).version == 4


@pytest.mark.parametrize("kind", ["password", "hex", "base64", "uuid"])
def test_no_value_comes_twice(kind: str) -> None:
    generator = Generator(kind=kind)  # type: ignore[arg-type]  # one of the kinds
    assert len({generate.value(generator) for _ in range(200)}) == 200


def test_a_value_matches_the_declared_pattern() -> None:
    parameter = _parameter(Generator(kind="password", length=16), pattern="[A-M].*")
    assert generate.matching_value(parameter)[0] in "ABCDEFGHIJKLM"


def test_a_pattern_that_the_generator_never_matches_is_told_without_a_value() -> None:
    with pytest.raises(OpsError, match=r"of 1000 values .* none matches its pattern"):
        generate.matching_value(_parameter(Generator(kind="uuid"), pattern="[0-9]"))


def test_without_a_generator_there_is_no_default() -> None:
    with pytest.raises(OpsError, match="no generator"):
        generate.matching_value(_parameter(None))
