"""The offer log, and why an offer was made as it was."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Query
from starlette.responses import Response

from domain.errors import ExplanationExpired, NotFound, Unauthenticated
from domain.ground.times import instant, millis
from domain.orders.lifecycle import OfferStatus, Role
from domain.orders.records import OfferRow
from domain.solve import Explanation
from gateway.http.admission import Kind
from gateway.http.auth import Principal, bearer
from gateway.http.policy import OPERATORS, Door, Policy
from gateway.rest.kit.answers import Parts, Uid, json_response
from gateway.rest.kit.lists import PAGE_LIMIT, CursorText, read_cursor, write_cursor
from gateway.rest.kit.routes import Routes
from gateway.rest.models import Digits, Instant
from gateway.rest.ops import Viewer
from gateway.rest.views import CandidateView, ExplanationView, OfferLogPage, OfferLogRow
from persistence.reads.views import OfferCursor

routes = Routes("offers")


async def _asker(services: Parts, token: Annotated[str | None, Depends(bearer)]) -> Principal | None:
    """Who asks; None for anybody where mission control is open."""
    if token is None and services.config.ops_open:
        return None
    if token is None:
        raise Unauthenticated()
    principal = services.tokens.principal(token)
    await services.accounts.require(principal)
    return principal


@routes.get(
    "/v1/offers",
    Policy(roles=Door.OPS, limit="ops", admission=Kind.NEW),
    OfferLogPage,
    refuses=("FORBIDDEN",),
    needs=(Viewer,),
)
async def log(
    services: Parts,
    region_id: Annotated[str | None, Query(max_length=64)] = None,
    made_from: Annotated[
        Instant | None, Query(alias="from", description="Made at or after, RFC 3339.")
    ] = None,
    made_to: Annotated[Instant | None, Query(alias="to", description="Made before, RFC 3339.")] = None,
    status: Annotated[list[OfferStatus] | None, Query(description="Any of these.")] = None,
    cursor: CursorText = None,
    limit: Annotated[int, Query(ge=1, le=PAGE_LIMIT), Digits] = 50,
) -> Response:
    """The offer log, newest first: what each offer was made on and what became of it. For operators."""
    page = await services.reads.offers(
        region_id=region_id,
        status=tuple(status or ()),
        from_ms=None if made_from is None else millis(made_from),
        before_ms=None if made_to is None else millis(made_to),
        cursor=OfferCursor(*read_cursor(cursor)) if cursor else None,
        limit=limit,
    )
    return json_response(
        OfferLogPage(
            [log_row(offer) for offer in page.offers],
            write_cursor(page.next.made_ms, page.next.offer_id) if page.next else None,
        )
    )


@routes.get(
    "/v1/offers/{offer_id}/explain",
    Policy(roles=Door.OPS_OR_SIGNED_IN, owner="offer_id", limit="ops", admission=Kind.NEW),
    ExplanationView,
    refuses=("EXPLANATION_EXPIRED",),
)
async def explain(
    offer_id: Uid, asker: Annotated[Principal | None, Depends(_asker)], services: Parts
) -> Response:
    """Why the offer went to its driver: what every candidate would have cost, term by term, and the runner-up.

    For operators, and for the driver it was made to, who sees the others by their ranks alone. Kept for a while.
    """
    offer = await services.reads.offer(str(offer_id))
    all_named = asker is None or asker.role in OPERATORS
    of_driver = (
        asker is not None and offer is not None and asker.role is Role.DRIVER and asker.id == offer.driver_id
    )
    if offer is None or not (all_named or of_driver):
        raise NotFound("There is no such offer.")
    explanation = await services.reads.explanation(offer.offer_id)
    if explanation is None:
        raise ExplanationExpired()
    named = None if all_named else offer.driver_id
    return json_response(_explained(offer, explanation, named))


def log_row(offer: OfferRow) -> OfferLogRow:
    """A row of the offer log as clients see it."""
    return OfferLogRow(
        id=offer.offer_id,
        region_id=offer.region_id,
        driver_id=offer.driver_id,
        task_ids=offer.task_ids,
        status=offer.status,
        reason=offer.reason,
        made_at=instant(offer.made_ms),
        expires_at=instant(offer.expires_ms),
        seen_at=None if offer.seen_ms is None else instant(offer.seen_ms),
        closed_at=None if offer.closed_ms is None else instant(offer.closed_ms),
        latency_s=_since_made_s(offer, offer.closed_ms),
        seen_latency_s=_since_made_s(offer, offer.seen_ms),
        features=offer.features,
    )


def _since_made_s(offer: OfferRow, at_ms: int | None) -> float | None:
    return None if at_ms is None else (at_ms - offer.made_ms) / 1000


def _explained(offer: OfferRow, explanation: Explanation, named: str | None) -> ExplanationView:
    """The explanation with the id of the driver `named` alone, or with all where that is None."""
    ranks = {one.driver_id: rank for rank, one in enumerate(explanation.candidates, 1)}
    return ExplanationView(
        offer=log_row(offer),
        candidates=[
            CandidateView(
                rank=ranks[one.driver_id],
                driver_id=one.driver_id if named in (None, one.driver_id) else None,
                cost=one.cost,
                terms=dict(one.terms),
            )
            for one in explanation.candidates
        ],
        chosen=ranks.get(offer.driver_id),
        runner_up=ranks.get(explanation.runner_up or ""),
        gap=explanation.gap,
        pruned=explanation.pruned,
    )
