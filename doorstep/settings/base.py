"""What the areas of settings have in common, and where defaults are stated: by the rooms that live by them. Settings
take those over, and state only what is theirs."""

from __future__ import annotations

import re
from typing import Annotated, Any

import msgspec
from pydantic import AfterValidator
from pydantic_settings import BaseSettings, SettingsConfigDict

from actors.config import Config, Limits
from domain.region.policy import RegionPolicy
from integrations.routing.options import RoadOptions

LIMITS, POLICY, ROADS = Limits(), RegionPolicy(), RoadOptions()
_CONFIG = {field.name: field.default for field in msgspec.structs.fields(Config)}


class Area(BaseSettings):
    """Settings that belong together; the first sentence of an area's own is its heading in `.env.example`."""

    model_config = SettingsConfigDict(
        env_file=".env",
        env_file_encoding="utf-8",
        env_ignore_empty=True,  # `NAME=` in a .env means "leave the default"
        extra="ignore",  # a .env is often shared with compose files
        validate_default=True,
    )


def _http_url(value: str) -> str:
    if not re.match(r"https?://[^/]", value):
        raise ValueError("must start with http:// or https://")
    return value


HttpUrl = Annotated[str, AfterValidator(_http_url)]


def env_name(field_name: str) -> str:
    """The variable of a field."""
    return "DOORSTEP_ENV" if field_name == "environment" else field_name.upper()


def configured(name: str) -> Any:
    """The default of `Config`, which has fields without one."""
    return _CONFIG[name]
