"""The offers on one driver's screen, and what the driver will do about each."""

from __future__ import annotations

from enum import StrEnum
from random import Random

from msgspec import Struct

from domain.protocol import Offer, OfferView
from sim.bot.personas import DriverPersona

THINK_SHARE = 0.3  # of an offer's time: on a fast clock the way to the server takes whole server seconds
FORGET_S = 60.0  # server seconds after its end at which an offer that nobody closed is forgotten


class Choice(StrEnum):
    ACCEPT = "accept"
    REJECT = "reject"
    LAPSE = "lapse"


class OpenOffer(Struct):
    """An offer and the driver's mind about it; instants in server seconds."""

    offer_id: str
    choice: Choice
    decide_s: float
    forget_s: float


class OfferBook:
    """Offers by id. The choice is drawn once, when an offer is first seen."""

    def __init__(self, persona: DriverPersona, rng: Random) -> None:
        self.open: dict[str, OpenOffer] = {}
        self._persona, self._rng = persona, rng

    def add(self, now_s: float, offer: Offer | OfferView, *, off_shift: bool) -> bool:
        """Take an offer in; False when it is known already, with more time perhaps. After the shift every offer is
        rejected."""
        expires_s = offer.expires_at.timestamp()
        if (known := self.open.get(offer.offer_id)) is not None:
            known.forget_s = expires_s + FORGET_S
            return False
        persona, draw = self._persona, self._rng.random()
        choice = Choice.ACCEPT
        if off_shift:
            choice = Choice.REJECT
        elif draw < persona.lapse:
            choice = Choice.LAPSE
        elif draw < persona.lapse + persona.reject:
            choice = Choice.REJECT
        think_s = self._rng.uniform(persona.think_min_s, persona.think_max_s)
        decide_s = now_s + max(0.0, min(think_s, THINK_SHARE * (expires_s - now_s)))
        if choice is Choice.LAPSE:
            decide_s = float("inf")
        self.open[offer.offer_id] = OpenOffer(offer.offer_id, choice, decide_s, expires_s + FORGET_S)
        return True

    def close(self, offer_id: str) -> None:
        """The offer has ended."""
        self.open.pop(offer_id, None)

    def due(self, now_s: float) -> list[OpenOffer]:
        """The offers to answer now; each is handed out once."""
        due = [offer for offer in self.open.values() if now_s >= offer.decide_s]
        for offer in due:
            offer.decide_s = float("inf")
        return due

    def forgotten(self, now_s: float) -> list[str]:
        """The offers whose end should have been told long ago."""
        return [offer.offer_id for offer in self.open.values() if now_s >= offer.forget_s]

    def next_s(self) -> float:
        """When something is due next."""
        return min(
            (min(offer.decide_s, offer.forget_s) for offer in self.open.values()), default=float("inf")
        )
