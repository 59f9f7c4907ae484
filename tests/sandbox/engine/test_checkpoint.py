import json
from pathlib import Path
from typing import Any

import pytest

from infra.sandbox.engine.checkpoint import (
    CheckpointError,
    Encrypted,
    IntegrityError,
    Kept,
    Sealed,
    Shown,
    check_manifest,
    decode_deployment,
    decode_resource,
    encode_deployment,
    encode_resource,
    magic,
    plain_outputs,
    unwrap,
    verify,
    versioned,
)
from infra.sandbox.engine.secrets import Crypter
from infra.sandbox.engine.state import Operation, Resource, Snapshot
from infra.sandbox.engine.wire import (
    SECRET_SIGNATURE,
    SIGNATURE_KEY,
    UNKNOWN,
    Archive,
    Asset,
    ResourceReference,
    Secret,
)
from tests.sandbox.engine.store_fakes import STACK_URN, bucket, stack_resource
from tests.sandbox.engine.store_fakes import crypter as make_crypter

CASES = Path(__file__).parents[2] / "conformance" / "cases"


@pytest.fixture
def crypter(tmp_path: Path) -> Crypter:
    return make_crypter(tmp_path)


def full_resource() -> Resource:
    return bucket(
        "all",
        inputs={
            "secret": Secret({"deep": [1, None]}),
            "reference": ResourceReference(STACK_URN, "i-1", "7.0.0"),
            "component": ResourceReference(STACK_URN),
            "asset": Asset({"text": "hello", "hash": "abc"}),
            "archive": Archive({"assets": {}}),
            "number": 1.5,
            "whole": 2,
            "flag": False,
            "nothing": None,
        },
        outputs={"unknown": UNKNOWN, "list": [Secret("x"), "y"], "infinite": float("inf")},
        protect=True,
        taint=True,
        dependencies=(STACK_URN,),
        property_dependencies={"b": (STACK_URN,), "a": ()},
        init_errors=("half made",),
        additional_secret_outputs=("secret",),
        aliases=("urn:pulumi:dev::shop::aws:s3/bucket:Bucket::old",),
        custom_timeouts={"create": 60.0},
        import_id="imported",
        retain_on_delete=True,
        deleted_with=STACK_URN,
        replace_with=(STACK_URN,),
        created="2026-01-02T03:04:05Z",
        modified="2026-01-02T03:04:06Z",
        source_position="project:///__main__.py#1",
        stack_trace=({"sourcePosition": "project:///__main__.py#1"},),
        ignore_changes=("tags",),
        replace_on_changes=("*",),
        hide_diff=(("a", 0),),
        extra={"refreshBeforeUpdate": True},
    )


def encode(snapshot: Snapshot, crypter: Crypter) -> dict[str, Any]:
    return encode_deployment(
        snapshot,
        Encrypted(crypter),
        secrets_state=crypter.state,
        time="2026-01-02T03:04:05Z",
        version="v3.259.0",
    )


def through_json(document: dict[str, Any]) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(json.dumps(document))
    return loaded


def test_a_deployment_comes_back_as_it_was(crypter: Crypter) -> None:
    snapshot = Snapshot(
        (stack_resource({"out": Secret(7)}), full_resource()),
        (Operation(bucket("begun"), "creating"),),
        {"integrity_error": {"error": "earlier"}},
    )

    document = through_json(encode(snapshot, crypter))

    assert decode_deployment(document, Encrypted(crypter)) == snapshot


def test_no_secret_can_be_read_in_the_document(crypter: Crypter) -> None:
    document = encode(Snapshot((bucket("b", inputs={"p": Secret("hush-hush")}),)), crypter)

    secret = document["resources"][0]["inputs"]["p"]
    assert "hush-hush" not in json.dumps(document)
    assert secret[SIGNATURE_KEY] == SECRET_SIGNATURE
    assert crypter.decrypt(secret["ciphertext"]) == '"hush-hush"'


def test_encoding_again_gives_the_same_text(crypter: Crypter) -> None:
    document = encode(Snapshot((full_resource(),)), crypter)

    again = encode(decode_deployment(through_json(document), Encrypted(crypter)), crypter)

    assert again == document


def test_shown_secrets_stand_as_the_cli_shows_them_and_are_read_back(crypter: Crypter) -> None:
    resource = bucket("b", inputs={"p": Secret({"k": "v"})})

    document = encode_resource(resource, Shown())

    assert document["inputs"]["p"] == {
        SIGNATURE_KEY: SECRET_SIGNATURE,
        "plaintext": '{"k":"v"}',
    }
    assert decode_resource(document, Encrypted(crypter)) == resource


def test_secrets_that_nobody_asks_for_are_kept_encrypted_without_a_key(crypter: Crypter) -> None:
    document = encode_resource(bucket("b", inputs={"p": Secret("x")}), Encrypted(crypter))

    kept = decode_resource(document, Kept())

    assert isinstance(kept.inputs["p"].value, Sealed)
    assert encode_resource(kept, Kept()) == document


def test_a_secret_within_a_secret_is_one_secret(crypter: Crypter) -> None:
    document = encode_resource(
        bucket("b", inputs={"p": Secret({"a": Secret("x")})}), Encrypted(crypter)
    )

    assert decode_resource(document, Encrypted(crypter)).inputs == {"p": Secret({"a": "x"})}


def test_empty_fields_are_left_out_and_the_rest_is_in_pulumis_order() -> None:
    assert list(encode_resource(bucket("b"), Kept())) == ["urn", "custom", "id", "type", "parent"]
    assert list(encode_resource(stack_resource(), Kept())) == ["urn", "custom", "type"]


def test_the_recorded_states_have_only_keys_that_are_held() -> None:
    keys = set(encode_resource(full_resource(), Shown()))
    keys |= {"external", "delete", "provider", "pendingReplacement"}
    recorded: set[str] = set()
    for path in sorted(CASES.glob("*/expected.json")):
        for step in json.loads(path.read_text()):
            for entries in step.get("state", {}).values() if isinstance(step, dict) else ():
                for entry in entries if isinstance(entries, list) else [entries]:
                    recorded |= set(entry["keys"])

    assert recorded - keys == set()


def test_fields_that_the_engine_does_not_know_are_kept() -> None:
    document = {**encode_resource(bucket("b"), Kept()), "viewOf": STACK_URN, "novelty": [1]}

    assert encode_resource(decode_resource(document, Kept()), Kept()) == document


def test_the_manifest_has_pulumis_checksum(crypter: Crypter) -> None:
    document = encode(Snapshot(), crypter)

    assert document["manifest"]["magic"] == magic("v3.259.0")
    check_manifest(document)
    with pytest.raises(IntegrityError, match="magic cookie mismatch"):
        check_manifest({"manifest": {"version": "v3.259.0", "magic": "0"}})


def test_a_deployment_that_uses_newer_fields_says_so_in_its_version(crypter: Crypter) -> None:
    plain = encode(Snapshot((bucket("b"),)), crypter)
    tainted = encode(Snapshot((bucket("b", taint=True),)), crypter)

    assert versioned("deployment", plain, plain)["version"] == 3
    wrapped = versioned("deployment", tainted, tainted)
    assert (wrapped["version"], wrapped["features"]) == (4, ["taint"])


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ([], "no Pulumi deployment"),
        ({"version": 3}, "no Pulumi deployment"),
        ({"version": 2, "deployment": {}}, "version 2; the sandbox reads versions 3 and 4"),
        ({"version": 4, "features": ["views"], "deployment": {}}, "lacks: views"),
    ],
)
def test_what_is_no_deployment_is_refused_with_what_was_expected(
    document: object, message: str
) -> None:
    with pytest.raises(CheckpointError, match=message):
        unwrap(document, "deployment")


@pytest.mark.parametrize(
    ("resource", "message"),
    [
        ({"type": "a:b:C"}, "lacks the required field 'urn'"),
        ({"urn": "u"}, "u lacks the required field 'type'"),
        ({"urn": "u", "type": "t", "id": "i"}, "'custom' false but non-empty ID"),
        (
            {"urn": "u", "type": "t", "inputs": {"p": {SIGNATURE_KEY: SECRET_SIGNATURE}}},
            "u/inputs/p has neither",
        ),
    ],
)
def test_a_malformed_resource_is_named(resource: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        decode_deployment({"resources": [resource]}, Shown())


def provider() -> Resource:
    urn = "urn:pulumi:dev::shop::pulumi:providers:aws::p"
    return Resource(urn=urn, type="pulumi:providers:aws", custom=True, id="p-id")


def test_a_sound_deployment_passes_with_a_replacement_in_it() -> None:
    p = provider()
    reference = f"{p.urn}::{p.id}"
    old = bucket("b", delete=True, provider=reference)
    verify(Snapshot((stack_resource(), p, bucket("b", provider=reference), old)))


@pytest.mark.parametrize(
    ("resources", "message"),
    [
        ((bucket("b"),), "parent .* is missing"),
        ((bucket("b"), stack_resource()), "parent .* comes after it"),
        ((stack_resource(), bucket("b"), bucket("b")), "duplicate resource"),
        ((stack_resource(), bucket("b", dependencies=("urn:x",))), "dependency urn:x is missing"),
        (
            (stack_resource(), bucket("b", property_dependencies={"k": ("urn:x",)})),
            "from property k",
        ),
        ((stack_resource(), bucket("b", deleted_with="urn:x")), "deletedWith urn:x"),
        ((stack_resource(), bucket("b", provider="urn:p::id")), "unknown provider urn:p::id"),
    ],
)
def test_a_deployment_that_contradicts_itself_is_told(
    resources: tuple[Resource, ...], message: str
) -> None:
    with pytest.raises(IntegrityError, match=message):
        verify(Snapshot(resources))


def test_outputs_are_masked_unless_secrets_are_shown() -> None:
    outputs = {"b": {"x": Secret("n"), "y": 1}, "a": Secret([1])}

    assert plain_outputs(outputs, show_secrets=False) == {
        "a": "[secret]",
        "b": {"x": "[secret]", "y": 1},
    }
    assert plain_outputs(outputs, show_secrets=True) == {"a": [1], "b": {"x": "n", "y": 1}}
