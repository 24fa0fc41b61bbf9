"""Every vendor of the registry through one suite; real vendors are added with a scripted transport."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec
import pytest

from domain.ports import IdentityVendor, PaymentVendor, RefundState, VendorError, Verdict
from integrations.registry import IDENTITY, PAYMENT, PORTS

T = TypeVar("T")


class Scripted(NamedTuple, Generic[T]):
    """How a vendor is made for a test, a real one on a scripted transport, and the tokens that make it say so."""

    make: Callable[[], T]
    tokens: dict[str, str]


# A new vendor adds its line.
IDENTITIES: dict[str, Scripted[IdentityVendor]] = {
    "fake": Scripted(
        lambda: IDENTITY["fake"]({}),
        {
            "pass": "fake:pass",
            "under_age": "fake:under_age",
            "expired": "fake:expired",
            "wrong_name": "fake:wrong_name",
            "review": "fake:review",
            "error": "fake:error",
            "silence": "fake:timeout",
            "unknown": "no such token",
        },
    ),
}
PAYMENTS: dict[str, Scripted[PaymentVendor]] = {
    "fake": Scripted(
        lambda: PAYMENT["fake"]({}),
        {
            "ok": "fake:ok",
            "declined": "fake:declined",
            "refund declined": "fake:refund_declined",
            "refund pending": "fake:refund_pending",
            "refund fails later": "fake:refund_fails_later",
            "refund error": "fake:refund_error",
            "error": "fake:error",
            "silence": "fake:timeout",
            "unknown": "no such token",
        },
    ),
}


VENDORS = [(port, name) for port, vendors in PORTS.items() for name in vendors]


@pytest.mark.parametrize(("port", "name"), VENDORS)
def test_options_are_looked_at_and_told_of(port: str, name: str) -> None:
    vendor = PORTS[port][name]
    schema = msgspec.json.schema(vendor.options)["$defs"][vendor.options.__name__]
    for option, told in schema["properties"].items():
        assert told.get("description"), f"{option} does not say what it is"
    with pytest.raises(ValueError, match="there is no option no_such_option"):
        vendor.read({"no_such_option": "hunter2"})
    for option, told in schema["properties"].items():
        wrong = 1 if told["type"] == "string" else "hunter2"
        with pytest.raises(ValueError, match=option) as caught:
            vendor.read({option: wrong})
        assert "hunter2" not in str(caught.value)


@pytest.fixture(params=sorted(IDENTITY))
def identity(request: pytest.FixtureRequest) -> tuple[IdentityVendor, dict[str, str]]:
    scripted = IDENTITIES[request.param]
    return scripted.make(), scripted.tokens


@pytest.fixture(params=sorted(PAYMENT))
def payment(request: pytest.FixtureRequest) -> tuple[PaymentVendor, dict[str, str]]:
    scripted = PAYMENTS[request.param]
    return scripted.make(), scripted.tokens


Identity = tuple[IdentityVendor, dict[str, str]]
Payment = tuple[PaymentVendor, dict[str, str]]


def ask(vendor: IdentityVendor, token: str, request_id: str = "r") -> dict[str, Any]:
    return {"request_id": request_id, "vendor_token": token, "min_age": 21}


@pytest.mark.parametrize(
    ("script", "verdict", "failing"),
    [
        ("pass", Verdict.PASS, None),
        ("under_age", Verdict.FAIL, "over_age"),
        ("expired", Verdict.FAIL, "not_expired"),
        ("wrong_name", Verdict.FAIL, "name_matches"),
    ],
)
async def test_a_door_check_names_what_fails(
    identity: Identity, script: str, verdict: Verdict, failing: str | None
) -> None:
    vendor, tokens = identity
    result = await vendor.check_id(**ask(vendor, tokens[script]))
    assert result.verdict is verdict
    flags = {name: getattr(result, name) for name in ("over_age", "not_expired", "name_matches")}
    assert [name for name, ok in flags.items() if not ok] == ([failing] if failing else [])


async def test_a_case_for_a_person_is_no_pass(identity: Identity) -> None:
    vendor, tokens = identity
    door = await vendor.check_id(**ask(vendor, tokens["review"]))
    assert door.verdict is Verdict.REVIEW
    assert not (door.over_age and door.not_expired and door.name_matches)
    assert (await vendor.verify_age(**ask(vendor, tokens["review"]))).verdict is Verdict.REVIEW


async def test_age_at_checkout(identity: Identity) -> None:
    vendor, tokens = identity
    assert (await vendor.verify_age(**ask(vendor, tokens["pass"]))).verdict is Verdict.PASS
    assert (await vendor.verify_age(**ask(vendor, tokens["under_age"]))).verdict is Verdict.FAIL


async def test_a_repeat_of_an_identity_request_has_the_same_reference(identity: Identity) -> None:
    vendor, tokens = identity
    first = await vendor.check_id(**ask(vendor, tokens["pass"]))
    assert await vendor.check_id(**ask(vendor, tokens["pass"])) == first
    other = await vendor.check_id(**ask(vendor, tokens["pass"], "another"))
    assert other.vendor_ref != first.vendor_ref


@pytest.mark.parametrize("script", ["error", "unknown"])
async def test_an_identity_vendor_that_fails_says_so(identity: Identity, script: str) -> None:
    vendor, tokens = identity
    with pytest.raises(VendorError):
        await vendor.verify_age(**ask(vendor, tokens[script]))
    with pytest.raises(VendorError):
        await vendor.check_id(**ask(vendor, tokens[script]))


async def test_a_silent_identity_vendor_can_be_given_up(identity: Identity) -> None:
    vendor, tokens = identity
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await vendor.check_id(**ask(vendor, tokens["silence"]))


async def test_a_payment_is_authorized_captured_or_voided(payment: Payment) -> None:
    vendor, tokens = payment
    authorized = await vendor.authorize(request_id="r", amount_cents=100, vendor_token=tokens["ok"])
    assert authorized.ok
    again = await vendor.authorize(request_id="r", amount_cents=100, vendor_token=tokens["ok"])
    assert again == authorized
    assert (await vendor.capture(request_id="c", vendor_ref=authorized.vendor_ref, amount_cents=100)).ok
    assert (await vendor.void(request_id="v", vendor_ref=authorized.vendor_ref)).ok


async def test_a_declined_payment_is_an_answer(payment: Payment) -> None:
    vendor, tokens = payment
    declined = await vendor.authorize(request_id="r", amount_cents=100, vendor_token=tokens["declined"])
    assert not declined.ok


@pytest.mark.parametrize("script", ["error", "unknown"])
async def test_a_payment_vendor_that_fails_says_so(payment: Payment, script: str) -> None:
    vendor, tokens = payment
    with pytest.raises(VendorError):
        await vendor.authorize(request_id="r", amount_cents=100, vendor_token=tokens[script])


async def test_a_silent_payment_vendor_can_be_given_up(payment: Payment) -> None:
    vendor, tokens = payment
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await vendor.authorize(request_id="r", amount_cents=100, vendor_token=tokens["silence"])


async def test_a_payments_request_is_one_thing_and_done_once(payment: Payment) -> None:
    vendor, tokens = payment
    first = await vendor.authorize(request_id="r", amount_cents=100, vendor_token=tokens["ok"])
    for cents, token in ((99_000_000, tokens["ok"]), (100, tokens["declined"])):
        with pytest.raises(VendorError):
            await vendor.authorize(request_id="r", amount_cents=cents, vendor_token=token)
    # More than is held is not to be had, and the same twice is once.
    assert not (await vendor.capture(request_id="a", vendor_ref=first.vendor_ref, amount_cents=101)).ok
    for _ in range(2):
        assert (await vendor.capture(request_id="c", vendor_ref=first.vendor_ref, amount_cents=100)).ok
    assert not (await vendor.capture(request_id="d", vendor_ref=first.vendor_ref, amount_cents=100)).ok


async def test_what_was_released_by_its_name_is_gone_and_does_not_come(payment: Payment) -> None:
    vendor, tokens = payment
    held = await vendor.authorize(request_id="r", amount_cents=100, vendor_token=tokens["ok"])
    for name in ("r", "r", "never asked for"):
        assert (await vendor.release(request_id=name)).ok
    assert not (await vendor.capture(request_id="c", vendor_ref=held.vendor_ref, amount_cents=100)).ok
    for name in ("r", "never asked for"):
        with pytest.raises(VendorError):
            await vendor.authorize(request_id=name, amount_cents=100, vendor_token=tokens["ok"])


async def taken(vendor: PaymentVendor, token: str) -> str:
    """A payment of a dollar that was taken."""
    held = await vendor.authorize(request_id="r", amount_cents=100, vendor_token=token)
    assert (await vendor.capture(request_id="c", vendor_ref=held.vendor_ref, amount_cents=100)).ok
    return held.vendor_ref


async def test_less_than_is_held_can_be_taken_and_never_more_given_back(payment: Payment) -> None:
    vendor, tokens = payment
    held = await vendor.authorize(request_id="r", amount_cents=100, vendor_token=tokens["ok"])
    assert (await vendor.capture(request_id="c", vendor_ref=held.vendor_ref, amount_cents=70)).ok
    for name, cents, state in (
        ("a", 71, "FAILED"),
        ("b", 40, "DONE"),
        ("c", 31, "FAILED"),
        ("d", 30, "DONE"),
    ):
        refund: dict[str, Any] = {"request_id": name, "vendor_ref": held.vendor_ref, "amount_cents": cents}
        for _ in range(2):  # the same twice is once
            assert await vendor.refund(**refund) is RefundState(state)
        assert await vendor.refund_state(request_id=name) is RefundState(state)
        with pytest.raises(VendorError):
            await vendor.refund(**(refund | {"amount_cents": 1}))
    assert await vendor.refund_state(request_id="never asked for") is None


@pytest.mark.parametrize(
    ("script", "first", "later"),
    [
        ("refund declined", "FAILED", "FAILED"),
        ("refund pending", "PENDING", "DONE"),
        ("refund fails later", "DONE", "FAILED"),
    ],
)
async def test_a_refund_may_take_time_and_come_to_nothing(
    payment: Payment, script: str, first: str, later: str
) -> None:
    vendor, tokens = payment
    ref = await taken(vendor, tokens[script])
    refund: dict[str, Any] = {"request_id": "x", "vendor_ref": ref, "amount_cents": 50}
    assert await vendor.refund(**refund) is RefundState(first)
    assert await vendor.refund(**refund) is RefundState(later)
    assert await vendor.refund_state(request_id="x") is RefundState(later)


async def test_a_refund_that_gets_no_answer_is_not_done(payment: Payment) -> None:
    vendor, tokens = payment
    ref = await taken(vendor, tokens["refund error"])
    with pytest.raises(VendorError):
        await vendor.refund(request_id="x", vendor_ref=ref, amount_cents=50)
    assert await vendor.refund_state(request_id="x") is None
