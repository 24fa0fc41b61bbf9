"""Who is asking, and what they may."""

from __future__ import annotations

from domain.errors.base import Refusal


class Unauthenticated(Refusal):
    """A valid access token is needed."""

    code, status, hint = "UNAUTHENTICATED", 401, "Get a token from POST /v1/auth/token."


class WeakPassword(Refusal):
    """The password would soon be guessed."""

    code, status = "WEAK_PASSWORD", 422
    hint = "Take a longer one: a few words that have nothing to do with your name and address."


class AccountDisabled(Refusal):
    """The account is disabled."""

    code, status, hint = "ACCOUNT_DISABLED", 403, "An operator can say why, and enable it again."


class Forbidden(Refusal):
    """Your role may not do this."""

    code, status, hint = "FORBIDDEN", 403, "The lifecycle table names the role that each step belongs to."


class DriverNotApproved(Refusal):
    """You are not approved as a driver."""

    code, status, hint = "DRIVER_NOT_APPROVED", 403, "GET /v1/drivers/{id} says how your application stands."


class DocumentsExpired(Refusal):
    """A document that must be good to drive has run out."""

    code, status, hint = "DOCUMENTS_EXPIRED", 403, "Hand in the new one: POST /v1/drivers/{id}/documents."


class DocumentsMissing(Refusal):
    """Not all documents are there that must be good to drive."""

    code, status, hint = "DOCUMENTS_MISSING", 409, "Ask for more, or refuse."


class NotTaskHolder(Refusal):
    """Only the driver who holds the task may do this."""

    code, status = "NOT_TASK_HOLDER", 403
    hint = "Between a region and its gateways only: clients are told NOT_FOUND."


class EmailTaken(Refusal):
    """An account with this e-mail address exists already."""

    code, status = "EMAIL_TAKEN", 409
