"""Addresses and passwords have one form each; what cannot be seen, is no address or is soon guessed is refused."""

from __future__ import annotations

import pytest

from gateway.http.credentials import email_key, email_of, is_guessable, password_of
from tests.support.gateway_world import PASSWORD, World

ZERO_WIDTH, RIGHT_TO_LEFT, SOFT_HYPHEN, FILLER = "\u200b", "\u202e", "\u00ad", "\u3164"


@pytest.mark.parametrize(
    ("typed", "form"),
    [
        ("Ann@Example.ORG", "ann@example.org"),
        ("  ann@example.org ", "ann@example.org"),
        ("jose\u0301@example.org", "jos\u00e9@example.org"),  # decomposed, as some keyboards send it
        ("ANN@XN--BCHER-KVA.EXAMPLE.COM", "ann@b\u00fccher.example.com"),
        ("a.b+c_d-e@sub.example.co", "a.b+c_d-e@sub.example.co"),
    ],
)
def test_an_address_has_one_form(typed: str, form: str) -> None:
    assert email_of(typed) == email_key(typed) == email_of(form) == form


@pytest.mark.parametrize(
    "nonsense",
    [
        *(
            "a",
            "a@",
            "@b.org",
            "a@b",
            "a@@b.org",
            "a@b..org",
            ".a@b.org",
            "a.@b.org",
            "a..b@b.org",
            "a b@c.org",
        ),
        *(
            "a@-b.org",
            "a@b-.org",
            "a@b.org.",
            "a@[127.0.0.1]",
            '"a b"@c.org',
            "a@b.c/d",
            "<a@b.org>",
            "a@b,org",
        ),
        *(
            f"a{hidden}@example.org"
            for hidden in (ZERO_WIDTH, RIGHT_TO_LEFT, SOFT_HYPHEN, "\t", "\x00", "\x7f", "\x85")
        ),
        *(f"a@exam{hidden}ple.org" for hidden in (ZERO_WIDTH, RIGHT_TO_LEFT, "\n", "\x00")),
        f"{'a' * 65}@example.org",
        f"a@{'b' * 64}.org",
        f"a@{'.'.join(['b' * 60] * 5)}.org",
    ],
)
def test_nonsense_is_no_address(nonsense: str) -> None:
    with pytest.raises(ValueError, match="is not an e-mail address"):
        email_of(nonsense)
    email_key(nonsense)  # finds nobody, and raises nothing


def test_a_password_has_one_form() -> None:
    assert password_of("cafe\u0301 au lait") == password_of("caf\u00e9 au lait")
    assert password_of("a\u00a0b\u3000cdefgh") == "a b cdefgh"


@pytest.mark.parametrize(
    "bad",
    [
        *("short", "e\u0301" * 7, "x" * 257, ""),
        *(
            f"correct{hidden} horse"
            for hidden in ("\x00", "\n", "\t", "\x7f", ZERO_WIDTH, RIGHT_TO_LEFT, FILLER, "\ue000")
        ),
    ],
)
def test_a_password_can_be_seen_and_has_a_length(bad: str) -> None:
    with pytest.raises(ValueError, match="ha"):
        password_of(bad)


@pytest.mark.parametrize(
    "easy",
    [
        *(
            "password",
            "Password1!",
            "12345678",
            "qwertyuiop",
            "letmein123",
            "aaaaaaaaaaaa",
            "abcd1234",
            "iloveyou1",
        ),
        *(
            "zebulon@example.org",
            "Zebulon@example.org1",
            "zebulon1",
            "zebulonzebulon",
            "Zebulon Pike",
            "doorstep1",
        ),
    ],
)
def test_what_is_soon_guessed_is_known(easy: str) -> None:
    assert is_guessable(easy, "zebulon@example.org", "Zebulon Pike")


@pytest.mark.parametrize(
    "fine", [PASSWORD, "correct horse", "a long enough password", "x" * 5 + "Tz8#q" + "w" * 246]
)
def test_what_is_not_soon_guessed_is_taken(fine: str) -> None:
    assert not is_guessable(fine, "zebulon@example.org", "Zebulon Pike")


async def test_what_registers_can_sign_in_however_it_is_typed(world: World) -> None:
    body = {
        "email": "Jose\u0301@Example.org",
        "password": "cafe\u0301 au lait",
        "role": "customer",
        "name": "J",
    }
    assert (await world.http.post("/v1/auth/register", json=body)).status_code == 201
    twin = body | {"email": "jos\u00e9@example.org"}
    assert (await world.http.post("/v1/auth/register", json=twin)).json()["code"] == "EMAIL_TAKEN"
    for email, password in (
        ("jos\u00e9@example.org", "caf\u00e9 au lait"),
        (" JOSE\u0301@EXAMPLE.ORG ", "cafe\u0301\u00a0au lait"),
    ):
        form = {"username": email, "password": password}
        assert (await world.http.post("/v1/auth/token", data=form)).status_code == 200


@pytest.mark.parametrize("password", ["password1", "zebulon@example.org"])
async def test_a_weak_password_does_not_register(world: World, password: str) -> None:
    body = {"email": "zebulon@example.org", "password": password, "role": "customer", "name": "Z"}
    refused = await world.http.post("/v1/auth/register", json=body)
    assert (refused.status_code, refused.json()["code"]) == (422, "WEAK_PASSWORD")
    assert not world.reads.users


@pytest.mark.parametrize("username", ["", "\ud800", "a\x00b", "x" * 1000, f"a{ZERO_WIDTH}@example.org", "%"])
async def test_a_stranger_text_signs_nobody_in(world: World, username: str) -> None:
    form = f"grant_type=password&username={username}&password=\x00\x00".encode("utf-8", "surrogatepass")
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    refused = await world.http.post("/v1/auth/token", content=form, headers=headers)
    assert refused.status_code in (401, 422), refused.text
