"""Faults of AWS, injected in the boto3 clients of the commands: the engine's own calls have none.

What goes wrong is decided for each attempt, also one that is made again, and answered in the form
of the API's own protocol, so that botocore retries, parses and raises as it would.
"""

from __future__ import annotations

import io
import json
import random
import re
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any
from xml.sax.saxutils import escape

from botocore.awsrequest import AWSResponse
from botocore.exceptions import ConnectTimeoutError, ReadTimeoutError

from ops import rates


@dataclass(frozen=True)
class Refusal:
    """An answer of AWS that is an error."""

    code: str
    status: int = 400
    message: str = "injected"
    passes: bool = False
    """Whether a request that is asked again often enough gets through: see `PASSING`."""


@dataclass(frozen=True)
class Silence:
    """No answer at all."""

    error: Callable[..., Exception] = ReadTimeoutError
    passes: bool = False


Fault = Refusal | Silence
Decide = Callable[[str, str], Fault | None]
"""Service and action, as boto3 and AWS call them → what goes wrong."""

PASSING = 6
"""Attempts of a request that chance may spoil: by chance alone one of some thousand requests would
be refused as often as it is asked."""

THROTTLED = Refusal("Throttling", message="Rate exceeded")
DENIED = Refusal("AccessDenied", 403, "User is not authorized to perform this action")
EXPIRED = Refusal("ExpiredToken", 403, "The security token included in the request is expired")
BROKEN = Refusal("InternalFailure", 500)
TIMEOUTS = (Silence(ReadTimeoutError), Silence(ConnectTimeoutError))


def throttled(share: float, seed: int) -> Decide:
    """A share of all attempts is refused for being too many."""
    return some(share, seed, [THROTTLED])


def broken(share: float, seed: int) -> Decide:
    """A share of all attempts ends with a 500 or no answer."""
    return some(share, seed, [BROKEN, *TIMEOUTS])


def some(share: float, seed: int, faults: list[Fault]) -> Decide:
    """A share of all attempts goes wrong in one of these ways."""
    dice, guard = random.Random(seed), threading.Lock()

    def decide(_service: str, _action: str) -> Fault | None:
        with guard:
            spoilt = dice.random() < share
            return replace(dice.choice(faults), passes=True) if spoilt else None

    return decide


def always(fault: Fault, *apis: str) -> Decide:
    """Every request of these APIs goes wrong: `eks:ListNodegroups`, or `eks:*` for all of them."""

    def decide(service: str, action: str) -> Fault | None:
        return fault if {f"{service}:{action}", f"{service}:*"} & set(apis) else None

    return decide


def after(number: int, fault: Fault, *apis: str) -> Decide:
    """From the request after so many on, every one goes wrong; `apis`: what counts, or all does."""
    passed, guard = [0], threading.Lock()

    def decide(service: str, action: str) -> Fault | None:
        with guard:
            if not apis or {f"{service}:{action}", f"{service}:*"} & set(apis):
                passed[0] += 1
            return fault if passed[0] > number else None

    return decide


@dataclass
class Watch:
    """Counts what is asked, and decides nothing."""

    asked: list[str] = field(default_factory=list)
    """`service:action` of each attempt."""

    def __call__(self, service: str, action: str) -> None:
        self.asked.append(f"{service}:{action}")


def install(decisions: Iterable[Decide], patch: Callable[[Any, str, Any], None]) -> None:
    """Inject faults in every client that is made from now on; the first that decides counts.

    `patch`: `monkeypatch.setattr`, or `setattr` in a process of its own.
    """
    decisions = tuple(decisions)
    original = rates.install

    def installed(client: Any, *rest: Any) -> Any:
        return inject(original(client, *rest), decisions)

    patch(rates, "install", installed)


def inject(client: Any, decisions: Iterable[Decide]) -> Any:
    """Inject faults in a client."""
    model = client.meta.service_model
    decisions = tuple(decisions)

    def send(request: Any, event_name: str, **_: Any) -> AWSResponse | None:
        action = event_name.rpartition(".")[2]
        decided = (decide(model.service_name, action) for decide in decisions)
        fault = next((found for found in decided if found), None)
        if fault and fault.passes and _attempt(request) > PASSING:
            return None
        if isinstance(fault, Silence):
            raise fault.error(endpoint_url=request.url)
        if fault is None:
            return None
        headers, body = _answer(model.resolved_protocol, fault)
        return AWSResponse(request.url, fault.status, headers, _Raw(body))

    client.meta.events.register_first(f"before-send.{model.service_id.hyphenize()}", send)
    return client


def _attempt(request: Any) -> int:
    """Give which attempt of its call a request is, as botocore tells AWS."""
    said = request.headers.get("amz-sdk-request", b"")
    text = said.decode() if isinstance(said, bytes) else said
    found = re.search(r"attempt=(\d+)", text)
    assert found, "every request says which attempt it is"
    return int(found[1])


class _Raw(io.BytesIO):
    """What botocore reads an answer from."""

    def stream(self, **_: Any) -> Iterable[bytes]:
        yield self.read()


def _answer(protocol: str, fault: Refusal) -> tuple[dict[str, str], bytes]:
    code, message = escape(fault.code), escape(fault.message)
    error = f"<Code>{code}</Code><Message>{message}</Message>"
    request = "<RequestId>injected</RequestId>"
    said = json.dumps({"__type": fault.code, "message": fault.message}).encode()
    if protocol in ("json", "rest-json"):
        return {"x-amzn-errortype": fault.code, "content-type": "application/json"}, said
    if protocol == "smithy-rpc-v2-cbor":
        return {"smithy-protocol": "rpc-v2-cbor", "content-type": "application/cbor"}, _cbor(
            {"__type": fault.code, "message": fault.message}
        )
    if protocol == "ec2":
        return {}, f"<Response><Errors><Error>{error}</Error></Errors>{request}</Response>".encode()
    if protocol == "rest-xml":
        return {}, f"<Error>{error}{request}</Error>".encode()
    return {}, f"<ErrorResponse><Error>{error}</Error>{request}</ErrorResponse>".encode()


def _cbor(said: dict[str, str]) -> bytes:
    """Encode a map of a few texts, as RFC 8949 has it."""
    texts = [text.encode() for pair in said.items() for text in pair]
    return bytes([0xA0 | len(said)]) + b"".join(
        b"\x79" + len(text).to_bytes(2, "big") + text for text in texts
    )
