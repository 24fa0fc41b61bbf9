"""How events are handed on."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError, field_validator

from actors.persistence.carriers.options import rules
from doorstep.settings.base import LIMITS, Area


class Outbox(Area):
    """Events on their way out (docs/persistence.md)."""

    outbox_batch: int = Field(
        LIMITS.outbox_batch,
        ge=1,
        le=10_000,
        description="outbox rows of each market handed on in one go; 1 to 10000",
    )
    outbox_pace_s: float = Field(
        LIMITS.outbox_pace_s,
        ge=0,
        le=10,
        description="seconds that events wait to go out together, tasks excepted; 0 to 10",
    )
    outbox_retry_s: float = Field(
        LIMITS.outbox_retry_s,
        gt=0,
        le=300,
        description="seconds before an unacknowledged outbox row is tried again; up to 300",
    )
    outbox_rest_s: float = Field(
        LIMITS.outbox_rest_s,
        gt=0,
        le=300,
        description="seconds that a region or a stream that does not answer is left alone at most; up to 300",
    )
    outbox_deadline_s: float = Field(
        LIMITS.outbox_deadline_s,
        gt=0,
        le=120,
        description="seconds that a region or the bus gets to take events; up to 120",
    )
    outbox_backoff_s: float = Field(
        LIMITS.outbox_backoff_s,
        gt=0,
        le=86_400,
        description="seconds between two tries of an event that is not taken, at most; up to 86400",
    )
    outbox_tries: int = Field(
        LIMITS.outbox_tries,
        ge=1,
        le=1_000,
        description="tries after which an event that its receiver refuses is a dead letter; 1 to 1000",
    )
    outbox_lease_s: float = Field(
        LIMITS.outbox_lease_s,
        ge=0.5,
        le=300,
        description="seconds after which another persistence actor takes over the outbox of a dead one; 0.5 to 300",
    )
    outbox_rules: str = Field(
        LIMITS.outbox_rules,
        description="what single carriers (bus, tasks, payments) have of their own, comma separated:"
        " bus.batch=500,payments.tries=40; options are batch, pace_s, retry_s, rest_s, deadline_s, backoff_s, tries",
    )

    @field_validator("outbox_rules")
    @classmethod
    def _rules(cls, value: str) -> str:
        for carrier, options in rules(value).items():
            for option, number in options.items():
                field = cls.model_fields[f"outbox_{option}"]
                bounded: Any = Annotated[field.annotation, *field.metadata]
                try:
                    TypeAdapter(bounded).validate_python(number)
                except ValidationError as error:
                    raise ValueError(f"{carrier}.{option}: {error.errors()[0]['msg']}") from None
        return value
