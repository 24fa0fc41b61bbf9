"""Whether who holds a token may still: an account can be deleted, disabled, given another role or signed out."""

from __future__ import annotations

import asyncio

from domain.errors import Unauthenticated
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
    way goes with the next one, so that many strangers at once are one read."""

    def __init__(self, reads: ReadSide, keep_s: float) -> None:
        self._reads, self._keep_s = reads, keep_s
        self._good_until_s: dict[Holder, float] = {}
        self._waiting: dict[Holder, asyncio.Future[bool]] = {}
        self._reading: asyncio.Task[None] | None = None

    async def require(self, principal: Principal) -> None:
        """`Unauthenticated` unless the account is there, enabled, of the token's role and version. The reads' own
        errors when the database cannot be asked: then nobody is let in on trust."""
        who = holder(principal)
        if self._good_until_s.get(who, 0.0) > asyncio.get_running_loop().time():
            return
        if not await asyncio.shield(self._answer(who)):
            raise Unauthenticated("The account is gone or disabled, or this token of it was taken back.")

    def _answer(self, who: Holder) -> asyncio.Future[bool]:
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
                except Exception as error:
                    for answer in asked.values():
                        answer.set_exception(error)
                else:
                    for who, answer in asked.items():
                        answer.set_result(who not in revoked)
                    self._remember([who for who in asked if who not in revoked])
                for who in asked:
                    del self._waiting[who]
        finally:
            self._reading = None

    def _remember(self, good: list[Holder]) -> None:
        if len(self._good_until_s) + len(good) > KNOWN_LIMIT:
            self._good_until_s.clear()
        until_s = asyncio.get_running_loop().time() + self._keep_s
        self._good_until_s.update(dict.fromkeys(good, until_s))


def _looked_at(answer: asyncio.Future[bool]) -> None:
    """An answer whose asker has gone is nobody's unhandled error."""
    if not answer.cancelled():
        answer.exception()
