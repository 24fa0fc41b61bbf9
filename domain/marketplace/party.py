"""Whose part somebody takes: an account that works for a merchant acts for the merchant, as far as its job goes."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct


class Job(StrEnum):
    """What somebody does at a merchant's. An owner may do all; a manager runs stores, goods and orders; a clerk sees to
    orders."""

    OWNER = "OWNER"
    MANAGER = "MANAGER"
    CLERK = "CLERK"


RUNS_STORES = (Job.OWNER, Job.MANAGER)


class Membership(Struct, frozen=True):
    """Whom an account works for, and as what. An account works for one merchant at most."""

    merchant_id: str
    job: Job
