"""Whether who holds a token may still: an account can be deleted, disabled, given another role or signed out."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping

from domain.errors import Unauthenticated
from domain.marketplace.party import Membership
from domain.orders.lifecycle import Role
from gateway.deciders.ports import ReadSide
from gateway.http.auth import Principal
from persistence.reads.views import Holder

KNOWN_LIMIT = 20_000  # tokens' holders that are remembered, some 300 bytes each
HOLDERS_AT_ONCE = 1_000  # in one read


def holder(principal: Principal) -> Holder:
    """What the database is asked about a principal."""
    return Holder(principal.id, principal.role, principal.version)


class Accounts:
    """A look at the account with each request, which is believed for `keep_s` seconds. Who asks while a read is under
    way goes with the next one, so that many strangers at once are one read. That a merchant's account works for nobody
    is believed never: whoever has just applied goes on at once."""

    def __init__(self, reads: ReadSide, keep_s: float) -> None:
        self._reads, self._keep_s = reads, keep_s
        self._good: dict[Holder, tuple[float, Membership | None]] = {}  # until when, and whom it works for
        self._waiting: dict[Holder, asyncio.Future[tuple[bool, Membership | None]]] = {}
        self._reading: asyncio.Task[None] | None = None

    async def require(self, principal: Principal) -> Membership | None:
        """Whom the account works for. `Unauthenticated` unless it is there, enabled, of the token's role and version.
        The reads' own errors when the database cannot be asked: then nobody is let in on trust."""
        who = holder(principal)
        until_s, member = self._good.get(who, (0.0, None))
        if until_s > asyncio.get_running_loop().time():
            return member
        is_good, member = await asyncio.shield(self._answer(who))
        if not is_good:
            raise Unauthenticated("The account is gone or disabled, or this token of it was taken back.")
        return member

    def _answer(self, who: Holder) -> asyncio.Future[tuple[bool, Membership | None]]:
        answer = self._waiting.get(who)
        if answer is None:
            answer = self._waiting[who] = asyncio.get_running_loop().create_future()
            answer.add_done_callback(_looked_at)
            if self._reading is None:
                self._reading = asyncio.create_task(self._read_all())
        return answer

    async def _read_all(self) -> None:
        try:
            while self._waiting:
                asked = dict(list(self._waiting.items())[:HOLDERS_AT_ONCE])
                try:
                    revoked = await self._reads.revoked(asked)
                    members = await self._members(asked)
                except Exception as error:
                    for answer in asked.values():
                        answer.set_exception(error)
                else:
                    for who, answer in asked.items():
                        answer.set_result((who not in revoked, members.get(who.user_id)))
                    self._remember({who: members.get(who.user_id) for who in asked if who not in revoked})
                for who in asked:
                    del self._waiting[who]
        finally:
            self._reading = None

    async def _members(self, asked: Iterable[Holder]) -> Mapping[str, Membership]:
        """Whom those work for who are a merchant's."""
        ids = [who.user_id for who in asked if who.role is Role.MERCHANT]
        return await self._reads.members(ids) if ids else {}

    def _remember(self, good: Mapping[Holder, Membership | None]) -> None:
        if len(self._good) + len(good) > KNOWN_LIMIT:
            self._good.clear()
        until_s = asyncio.get_running_loop().time() + self._keep_s
        for who, member in good.items():
            if member is not None or who.role is not Role.MERCHANT:
                self._good[who] = until_s, member


def _looked_at(answer: asyncio.Future[tuple[bool, Membership | None]]) -> None:
    """An answer whose asker has gone is nobody's unhandled error."""
    if not answer.cancelled():
        answer.exception()
