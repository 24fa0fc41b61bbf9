"""The lifecycle as the triggers look it up; filled by migrations from `domain.orders.lifecycle`."""

from __future__ import annotations

from sqlalchemy.orm import Mapped, mapped_column

from persistence.tables.base import Base


class OrderEdge(Base):
    """`domain.orders.lifecycle.ORDER_EDGES`, which the triggers look up."""

    __tablename__ = "order_edges"
    from_status: Mapped[str] = mapped_column(primary_key=True)
    to_status: Mapped[str] = mapped_column(primary_key=True)


class OrderStep(Base):
    """`domain.orders.lifecycle.ORDER` by role, and an order's first event, which comes from no state ('')."""

    __tablename__ = "order_steps"
    from_status: Mapped[str] = mapped_column(primary_key=True)
    event: Mapped[str] = mapped_column(primary_key=True)
    role: Mapped[str] = mapped_column(primary_key=True)
    to_status: Mapped[str]


class TaskEdge(Base):
    """`domain.orders.lifecycle.TASK_EDGES`."""

    __tablename__ = "task_edges"
    from_status: Mapped[str] = mapped_column(primary_key=True)
    to_status: Mapped[str] = mapped_column(primary_key=True)


class OfferEdge(Base):
    """`domain.orders.lifecycle.OFFER_EDGES`."""

    __tablename__ = "offer_edges"
    from_status: Mapped[str] = mapped_column(primary_key=True)
    to_status: Mapped[str] = mapped_column(primary_key=True)


class TaskStart(Base):
    """`domain.orders.lifecycle.TASK_START`."""

    __tablename__ = "task_starts"
    kind: Mapped[str] = mapped_column(primary_key=True)
    status: Mapped[str]
