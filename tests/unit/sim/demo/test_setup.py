"""The demo's accounts are known to whoever has its password, and to nobody else."""

from __future__ import annotations

from sim.demo.api import Api
from sim.demo.run import DemoOptions
from sim.demo.setup import Cast


def test_accounts_follow_from_the_password_and_do_not_tell_it() -> None:
    api = Api("http://localhost")
    one, again, other = (Cast(api, password, print).account("driver", 1, "D") for password in ("a", "a", "b"))
    assert one == again
    assert one.email != other.email
    assert one.password not in one.email.partition("@")[0].split("-")


def test_no_run_has_a_password_that_another_could_know() -> None:
    assert len({DemoOptions().password for _ in range(3)}) == 3
