"""Reading the offer log, and why offers were made."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import literal, select, tuple_

from domain.orders.lifecycle import OfferStatus
from domain.orders.records import OfferRow
from domain.solve import Explanation
from persistence import tables
from persistence.orders.load import explanation_of, is_id, offer_of
from persistence.reads.queries import Queries, table_of
from persistence.reads.views import OfferCursor, OfferPage

OFFERS, EXPLANATIONS = table_of(tables.Offer), table_of(tables.OfferExplanation)


class OfferReads(Queries):
    """See `persistence.reads.reads.Reads`."""

    async def offer(self, offer_id: str) -> OfferRow | None:
        """An offer by its id."""
        row = (
            await self._one(select(OFFERS).where(OFFERS.c.offer_id == offer_id)) if is_id(offer_id) else None
        )
        return offer_of(row) if row else None

    async def offers(
        self,
        *,
        region_id: str | None = None,
        status: Collection[OfferStatus] = (),
        from_ms: int | None = None,
        before_ms: int | None = None,
        cursor: OfferCursor | None = None,
        limit: int = 50,
    ) -> OfferPage:
        """The offer log, newest first, by region, status and time of the offer (`from_ms` <= made < `before_ms`).

        `cursor`: the `next` of the page before.
        """
        where = []
        if region_id is not None:
            where.append(OFFERS.c.region_id == region_id)
        if status:
            where.append(OFFERS.c.status.in_([str(one) for one in status]))
        if from_ms is not None:
            where.append(OFFERS.c.made_ms >= from_ms)
        if before_ms is not None:
            where.append(OFFERS.c.made_ms < before_ms)
        if cursor is not None:
            if not is_id(cursor.offer_id):
                return OfferPage([], None)
            last = tuple_(literal(cursor.made_ms), literal(cursor.offer_id, tables.Uid))
            where.append(tuple_(OFFERS.c.made_ms, OFFERS.c.offer_id) < last)
        newest = select(OFFERS).where(*where).order_by(OFFERS.c.made_ms.desc(), OFFERS.c.offer_id.desc())
        found = [offer_of(row) for row in await self._all(newest.limit(limit + 1))]
        page = found[:limit]
        more = len(found) > limit and page
        return OfferPage(page, OfferCursor(page[-1].made_ms, page[-1].offer_id) if more else None)

    async def explanation(self, offer_id: str) -> Explanation | None:
        """Why the offer was made as it was, while that is kept."""
        query = select(EXPLANATIONS.c.explanation).where(EXPLANATIONS.c.offer_id == offer_id)
        row = await self._one(query) if is_id(offer_id) else None
        return explanation_of(row["explanation"]) if row else None
