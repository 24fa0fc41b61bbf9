"""Settings: one field, one environment variable of the same name in upper case (`environment` is `DOORSTEP_ENV`).

A `.env` file in the working directory is read too; the environment wins. One file holds one area; a new one
needs a line in `AREAS` and among the bases of `Settings`. `.env.example` is made from them (scripts/generate_docs.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import SecretStr, ValidationError

from doorstep.settings.access import Access
from doorstep.settings.actors import Actors
from doorstep.settings.base import Area, env_name
from doorstep.settings.cluster import Cluster
from doorstep.settings.dispatch import Dispatch
from doorstep.settings.http import Http
from doorstep.settings.ops import Ops
from doorstep.settings.outbox import Outbox
from doorstep.settings.positions import Positions
from doorstep.settings.production import Production
from doorstep.settings.rate_limits import RateLimits
from doorstep.settings.retention import Retention
from doorstep.settings.roads import Roads
from doorstep.settings.running import Running
from doorstep.settings.secret_files import local_secret
from doorstep.settings.sockets import Sockets
from doorstep.settings.stores import Stores
from doorstep.settings.vendors import Vendors

AREAS: tuple[type[Area], ...] = (
    *(
        Running,
        Cluster,
        Stores,
        Access,
        Retention,
        Dispatch,
        Roads,
        Sockets,
        Positions,
        Http,
        Actors,
        Outbox,
        Ops,
    ),
    *(RateLimits, Vendors),
)
# pydantic starts a validator's message with this; the sentence after it is ours.
_VALIDATOR_PREFIX = "Value error, "


class SettingsError(ValueError):
    """The settings cannot be used; the message has one readable sentence per variable."""


class SettingRow(NamedTuple):
    """One setting: its area's heading, the variable, its default as it would stand in `.env`, and what it does."""

    area: str
    name: str
    default: str
    description: str


class Settings(
    Cluster,
    Stores,
    Retention,
    Dispatch,
    Roads,
    Sockets,
    Positions,
    Http,
    Actors,
    Outbox,
    Production,
):
    """Everything that can be set. Durations are in seconds of wall time unless the name says otherwise."""

    def __init__(self, **values: Any) -> None:
        """Values by field name win over the environment. `TypeError` for a name that is no setting."""
        for name in values:
            if name not in type(self).model_fields and not name.startswith("_"):
                raise TypeError(f"{name} is not a setting")
        # By its alias: `populate_by_name` would make the common variable ENVIRONMENT count as well.
        if "environment" in values:
            values["DOORSTEP_ENV"] = values.pop("environment")
        super().__init__(**values)

    @property
    def tiles_dir(self) -> Path:
        """The folder of road tiles."""
        return self.valhalla_tiles or self.data_dir / "roads"

    def jwt_key(self) -> str:
        """The key that signs tokens. Outside production it is generated once and kept in `data_dir`.

        Raises `OSError` when that folder cannot be written.
        """
        return self._secret(self.jwt_secret, "jwt_secret")

    def internal_key(self) -> str:
        """The token of the internal endpoints, generated and kept like `jwt_key`. Raises `OSError` like it."""
        return self._secret(self.internal_token, "internal_token")

    def metrics_key(self) -> str:
        """The token of the metrics page, in production too. Raises `OSError` like `jwt_key`."""
        return self._secret(self.metrics_token, "metrics_token")

    def _secret(self, value: SecretStr | None, name: str) -> str:
        return value.get_secret_value() if value is not None else local_secret(self.data_dir, name)


def load_settings(**overrides: Any) -> Settings:
    """Read the settings from the environment and `.env`; `overrides` (field names) win over both.

    Raises `SettingsError` with one sentence per variable that cannot be used.
    """
    try:
        return Settings(**overrides)
    except ValidationError as error:
        raise SettingsError("\n".join(_sentences(error))) from None


def explain_settings() -> Iterator[SettingRow]:
    """Every setting, area by area, for `.env.example` and the docs."""
    for area in AREAS:
        heading = (area.__doc__ or "").partition("\n")[0].removesuffix(".")
        for name, field in area.model_fields.items():
            default = field.default
            text = (
                "" if default is None else str(default).lower() if isinstance(default, bool) else str(default)
            )
            yield SettingRow(heading, env_name(name), text, field.description or "")


def _sentences(error: ValidationError) -> Iterator[str]:
    for problem in error.errors(include_url=False, include_context=False):
        message = problem["msg"].removeprefix(_VALIDATOR_PREFIX)
        if not problem["loc"]:  # several fields together: the message names them
            yield from message.splitlines()
            continue
        location = str(problem["loc"][0])
        name = "DOORSTEP_ENV" if location == "DOORSTEP_ENV" else env_name(location)
        field = Settings.model_fields.get(name.lower())
        given = problem["input"]
        # A secret, or what may hold one as a URL its password, must not end up in a terminal's history.
        shown = "" if name.endswith(("SECRET", "TOKEN", "_URL", "_OPTIONS")) else f" (given: {str(given)!r})"
        sentence = message[:1].lower() + message[1:] if problem["type"] != "value_error" else message
        hint = f". It is: {field.description}" if field is not None else ""
        yield f"{name}: {sentence}{shown}{hint}"
