"""What operators say of an application, be it a merchant's or a driver's."""

from __future__ import annotations

from enum import StrEnum
from typing import Self

from pydantic import model_validator

from domain.marketplace.review import ReviewEvent
from gateway.rest.models import Body, Code


class ReviewVerdict(StrEnum):
    """What a review comes to."""

    APPROVE = "approve"
    REJECT = "reject"
    ASK_FOR_MORE = "ask_for_more"


_EVENTS = {
    ReviewVerdict.APPROVE: ReviewEvent.APPROVED,
    ReviewVerdict.REJECT: ReviewEvent.REJECTED,
    ReviewVerdict.ASK_FOR_MORE: ReviewEvent.ASKED_FOR_MORE,
}


class ReviewBody(Body):
    """What a review comes to. `reason`: why not, which the applicant is told; for anything but `approve`."""

    verdict: Code[ReviewVerdict]
    reason: StrEnum | None = None

    @model_validator(mode="after")
    def _says_why(self) -> Self:
        if (self.reason is None) is not (self.verdict is ReviewVerdict.APPROVE):
            raise ValueError("has a reason unless the verdict is approve")
        return self

    @property
    def event(self) -> ReviewEvent:
        """What the verdict does to the application."""
        return _EVENTS[self.verdict]
