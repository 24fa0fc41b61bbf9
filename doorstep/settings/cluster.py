"""How many of which actors there are on which nodes."""

from __future__ import annotations

from pydantic import Field, field_validator

from doorstep.settings.base import Area, configured

NODE_KINDS = ("region", "gateway", "persistence", "solver")


class Cluster(Area):
    """The cluster (docs/cluster.md)."""

    gateways: int = Field(
        configured("gateways"),
        ge=1,
        le=64,
        description="gateway actors on each node that carries any, on one port; 1 to 64",
    )
    node_kinds: str = Field(
        "auto",
        description="custom resources that say where actors and solver tasks go, of region, gateway, persistence and"
        " solver, comma separated; auto takes those that the cluster has at start, none uses every node",
    )

    @field_validator("node_kinds")
    @classmethod
    def _kinds(cls, value: str) -> str:
        kinds = [part.strip() for part in value.split(",") if part.strip()]
        bad = [kind for kind in kinds if kind not in NODE_KINDS]
        if bad and kinds not in (["auto"], ["none"]):
            raise ValueError(f"must be auto, none, or of {', '.join(NODE_KINDS)}, and {bad[0]!r} is none")
        return ",".join(kinds)
