"""How patient a carrier is, and how much it takes at once: as the `OUTBOX_` settings have it or `OUTBOX_RULES` says."""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from actors.config import Limits
from domain.ports import Channel


class CarrierOptions(Struct, frozen=True, kw_only=True):
    """The meaning of each is in `doorstep/settings/outbox.py`, under its name and `outbox_`."""

    batch: int
    pace_s: float
    retry_s: float
    rest_s: float
    deadline_s: float
    backoff_s: float
    tries: int

    def wait_s(self, tries: int) -> float:
        """Until the next try, after so many."""
        return min(self.retry_s * 2.0 ** min(tries - 1, 60), self.backoff_s)


def usual(limits: Limits) -> CarrierOptions:
    """What a carrier has that nothing else is said of."""
    return CarrierOptions(
        **{name: getattr(limits, f"outbox_{name}") for name in CarrierOptions.__struct_fields__}
    )


def ruled(channel: Channel, options: CarrierOptions, limits: Limits) -> CarrierOptions:
    """These options with what `OUTBOX_RULES` says of the channel's carrier."""
    return replace(options, **rules(limits.outbox_rules).get(channel, {}))


def rules(text: str) -> dict[Channel, dict[str, float]]:
    """Of `bus.batch=500,payments.tries=40`: what each carrier has of its own. `ValueError` for what cannot be meant;
    the bounds of the numbers are the settings' own."""
    found: dict[Channel, dict[str, float]] = {}
    for rule in filter(None, (part.strip() for part in text.split(","))):
        about, _, given = rule.partition("=")
        carrier, _, option = about.strip().partition(".")
        if carrier not in [str(channel) for channel in Channel]:
            raise ValueError(f"{carrier!r} is no carrier; there are {', '.join(Channel)}")
        if option not in CarrierOptions.__struct_fields__:
            raise ValueError(
                f"{option!r} is no option; there are {', '.join(CarrierOptions.__struct_fields__)}"
            )
        of_carrier = found.setdefault(Channel(carrier), {})
        if option in of_carrier:
            raise ValueError(f"{about.strip()} is said twice")
        try:
            of_carrier[option] = (
                int(given) if CarrierOptions.__annotations__[option] == "int" else float(given)
            )
        except ValueError:
            raise ValueError(f"{about.strip()} is a number, and {given.strip()!r} is none") from None
    return found
