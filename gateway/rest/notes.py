"""What people typed beside a reason. It stands in no dossier, goes over no bus, and can be erased."""

from __future__ import annotations

from starlette.responses import Response

from domain.errors import NotFound
from domain.ground.times import instant
from gateway.http.auth import Me, Principal
from gateway.http.idempotency import Call
from gateway.http.policy import OPERATORS, Door, Policy
from gateway.rest.kit.answers import Parts, Uid, json_response
from gateway.rest.kit.deciding import order_for
from gateway.rest.kit.routes import Routes
from gateway.rest.views import NoteView
from gateway.services import Services
from persistence.reads.views import OrderNote

routes = Routes("notes", tag="orders")


async def keep_note(services: Services, call: Call, order_id: str, about: str, text: str | None) -> None:
    """Keep what was typed beside a step that was taken. A repeat of the step finds it there, or keeps it then."""
    if not text:
        return
    note = OrderNote(
        note_id=services.new_id(),
        order_id=order_id,
        author_id=call.principal.id,
        author_role=str(call.principal.role),
        about=about,
        at_ms=services.config.clock.now_ms(),
        text=text,
    )
    await services.reads.add_note(note)


@routes.get("/v1/orders/{order_id}/notes", Policy(roles=Door.SIGNED_IN, owner="order_id"), list[NoteView])
async def notes(order_id: Uid, principal: Me, services: Parts) -> Response:
    """What was typed beside the order's steps, oldest first: what you typed yourself; operators see all."""
    await order_for(services, principal, str(order_id))
    found = await services.reads.notes(str(order_id))
    return json_response([_view(note) for note in found if _is_theirs(note, principal)])


@routes.delete(
    "/v1/orders/{order_id}/notes/{note_id}", Policy(roles=Door.SIGNED_IN, owner="note_id"), status=204
)
async def erase(order_id: Uid, note_id: Uid, principal: Me, services: Parts) -> Response:
    """Erase what you typed, or, as an operator, what anybody did. Its step stays as it is."""
    await order_for(services, principal, str(order_id))
    found = await services.reads.notes(str(order_id))
    if not any(note.note_id == str(note_id) and _is_theirs(note, principal) for note in found):
        raise NotFound("There is no such note.")
    await services.reads.erase_note(str(note_id))
    return Response(status_code=204)


def _is_theirs(note: OrderNote, principal: Principal) -> bool:
    return principal.role in OPERATORS or note.author_id == principal.id


def _view(note: OrderNote) -> NoteView:
    return NoteView(
        id=note.note_id,
        about=note.about,
        author_id=note.author_id,
        author_role=note.author_role,
        at=instant(note.at_ms),
        text=note.text,
    )
