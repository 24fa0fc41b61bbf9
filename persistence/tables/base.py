"""What all tables share: named constraints, types, and checks that come again."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import BigInteger, CheckConstraint, Float, MetaData, Text, Uuid
from sqlalchemy.orm import DeclarativeBase

Uid = Uuid(as_uuid=False)


class Base(DeclarativeBase):
    """Every constraint has a stable name: a refused record is reported by it."""

    metadata = MetaData(
        naming_convention={
            "pk": "pk_%(table_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
        }
    )
    type_annotation_map = {str: Text, int: BigInteger, float: Float(53)}  # noqa: RUF012 - read by SQLAlchemy


def one_of(column: str, values: Iterable[str]) -> CheckConstraint:
    listed = ", ".join(f"'{value}'" for value in values)
    return CheckConstraint(f"{column} IN ({listed})", name=column)


def on_earth(*names: str) -> tuple[CheckConstraint, ...]:
    """Latitude and longitude ranges; NaN and the infinities fail them too."""
    return tuple(
        CheckConstraint(
            f"{name}lat BETWEEN -90 AND 90 AND {name}lng BETWEEN -180 AND 180", name=f"{name or 'on_'}earth"
        )
        for name in names
    )
