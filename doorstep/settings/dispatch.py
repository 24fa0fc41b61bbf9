"""When drivers are asked, and who is left out."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from domain.region.policy import Geofence
from doorstep.settings.base import POLICY, Area

GEOFENCE = Geofence()


class Dispatch(Area):
    """Dispatch (the server's clock: wall seconds times SPEED)."""

    offer_ttl_s: float = Field(
        POLICY.offer_ttl_s,
        ge=1,
        le=600,
        description="server seconds for an offer to be shown, and once more from then on to be answered; 1 to 600",
    )
    fast_window_s: float = Field(
        POLICY.fast_window_s,
        ge=0,
        le=10,
        description="server seconds a new task or freed driver waits for company; 0 to 10",
    )
    fast_max_wait_s: float = Field(
        POLICY.fast_max_wait_s,
        gt=0,
        le=60,
        description="open tasks are looked at again after so many server seconds; up to 60",
    )
    offer_lead_s: float = Field(
        POLICY.offer_lead_s,
        ge=5,
        le=86_400,
        description="an offer is made so many server seconds before its driver must set off; until then a better"
        " one may come; 5 to 86400",
    )
    offer_ahead_s: float = Field(
        POLICY.offer_ahead_s,
        ge=0,
        le=3600,
        description="a driver on the way to the last door is offered the next trip so many server seconds before"
        " being done; 0 to 3600, 0 offers to free drivers only",
    )
    region_policies: Path | None = Field(
        None,
        description="JSON file with weights and other parameters of dispatch by market (docs/dispatch.md); empty"
        " leaves the defaults",
    )
    driver_stale_s: float = Field(
        POLICY.driver_stale_s,
        ge=5,
        le=3600,
        description="a driver silent for so many server seconds gets no offer; 5 to 3600",
    )
    driver_lost_s: float = Field(
        POLICY.driver_lost_s,
        ge=60,
        le=86_400,
        description="a driver silent for so many server seconds loses what is not picked up yet;"
        " 60 to 86400, at least DRIVER_STALE_S",
    )

    geofenced: bool = Field(
        True,
        description="whether drivers must be near to arrive, take goods, check an ID, hand over and bring back, or say"
        " why not, which operators see",
    )
    geofence_store_m: float = Field(
        GEOFENCE.store_m, ge=20, le=10_000, description="metres to the store that are near; 20 to 10000"
    )
    geofence_door_m: float = Field(
        GEOFENCE.door_m, ge=20, le=10_000, description="metres to the door that are near; 20 to 10000"
    )
    geofence_return_m: float = Field(
        GEOFENCE.return_m,
        ge=20,
        le=10_000,
        description="metres to the store that are near for what comes back; 20 to 10000",
    )
    geofence_age_s: float = Field(
        GEOFENCE.position_age_s,
        ge=5,
        le=3600,
        description="a position older than so many server seconds says nothing of where a driver is; 5 to 3600",
    )

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if self.driver_lost_s < self.driver_stale_s:
            raise ValueError(
                f"DRIVER_LOST_S must be at least DRIVER_STALE_S, and is {self.driver_lost_s:g}"
                f" against {self.driver_stale_s:g}"
            )
        return self
