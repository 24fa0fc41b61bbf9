"""Lists for dispatchers: tasks, and who was given which."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import exists, literal, select, tuple_

from domain.orders.lifecycle import TASK_ENDED, OfferStatus, TaskStatus
from persistence import tables
from persistence.orders.load import offer_of, task_of
from persistence.reads.offers import OFFERS, OfferReads
from persistence.reads.queries import table_of
from persistence.reads.views import AssignmentPage, OfferCursor, TaskCursor, TaskPage

TASKS = table_of(tables.Task)


class DispatchReads(OfferReads):
    """See `persistence.reads.reads.Reads`."""

    async def tasks(
        self,
        *,
        region_id: str | None = None,
        driver_id: str | None = None,
        order_id: str | None = None,
        status: Collection[TaskStatus] = (),
        cursor: TaskCursor | None = None,
        limit: int = 50,
    ) -> TaskPage:
        """Tasks newest first, by region, holder, order and status. `cursor`: the `next` of the page before."""
        where = []
        if region_id is not None:
            where.append(TASKS.c.region_id == region_id)
        if driver_id is not None:
            where.append(TASKS.c.driver_id == driver_id)
        if order_id is not None:
            where.append(TASKS.c.order_id == order_id)
        if status:
            where.append(TASKS.c.status.in_([str(one) for one in status]))
            if TASK_ENDED.isdisjoint(status):
                where.append(TASKS.c.live)  # an index has these apart
        if cursor is not None:
            last = tuple_(literal(cursor.opened_ms), literal(cursor.task_id, tables.Uid))
            where.append(tuple_(TASKS.c.opened_ms, TASKS.c.task_id) < last)
        newest = select(TASKS).where(*where).order_by(TASKS.c.opened_ms.desc(), TASKS.c.task_id.desc())
        found = [task_of(row) for row in await self._all(newest.limit(limit + 1))]
        page = found[:limit]
        more = len(found) > limit and page
        return TaskPage(page, TaskCursor(page[-1].opened_ms, page[-1].task_id) if more else None)

    async def assignments(
        self,
        *,
        region_id: str | None = None,
        driver_id: str | None = None,
        active: bool | None = None,
        cursor: OfferCursor | None = None,
        limit: int = 50,
    ) -> AssignmentPage:
        """Offers that were taken, newest first, by region and driver; `active`: those of which a task is still under
        way, or the others. `cursor`: the `next` of the page before."""
        where = [OFFERS.c.status == str(OfferStatus.ACCEPTED)]
        if region_id is not None:
            where.append(OFFERS.c.region_id == region_id)
        if driver_id is not None:
            where.append(OFFERS.c.driver_id == driver_id)
        if active:
            under_way = select(TASKS.c.offer_id).where(TASKS.c.live, TASKS.c.driver_id.is_not(None))
            if region_id is not None:
                under_way = under_way.where(TASKS.c.region_id == region_id)
            if driver_id is not None:
                under_way = under_way.where(TASKS.c.driver_id == driver_id)
            where.append(OFFERS.c.offer_id.in_(under_way))
        if active is False:
            of_it = TASKS.c.task_id == OFFERS.c.task_ids.any_()
            where.append(~exists().where(of_it, TASKS.c.offer_id == OFFERS.c.offer_id, TASKS.c.live))
        if cursor is not None:
            last = tuple_(literal(cursor.made_ms), literal(cursor.offer_id, tables.Uid))
            where.append(tuple_(OFFERS.c.made_ms, OFFERS.c.offer_id) < last)
        newest = select(OFFERS).where(*where).order_by(OFFERS.c.made_ms.desc(), OFFERS.c.offer_id.desc())
        found = [offer_of(row) for row in await self._all(newest.limit(limit + 1))]
        page = found[:limit]
        more = len(found) > limit and page
        ids = [task_id for offer in page for task_id in offer.task_ids]
        of_page = await self._all(select(TASKS).where(TASKS.c.task_id.in_(ids))) if ids else ()
        tasks_of_page = {task.task_id: task for task in map(task_of, of_page)}
        last_of_page = OfferCursor(page[-1].made_ms, page[-1].offer_id) if more else None
        return AssignmentPage(page, tasks_of_page, last_of_page)
