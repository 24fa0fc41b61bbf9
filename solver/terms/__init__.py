"""The objective's terms by name (row B4). Another one is a file here, a line below, and a weight: a field of
`domain.solve.Weights`, or an entry of its `more`."""

from __future__ import annotations

from solver.terms.delay import delay
from solver.terms.fairness import fairness
from solver.terms.lateness import lateness
from solver.terms.leg import Leg, Term
from solver.terms.retry import retry
from solver.terms.risk import risk
from solver.terms.travel import travel
from solver.terms.zone import zone

TERMS: dict[str, Term] = {
    "travel": travel,
    "lateness": lateness,
    "delay": delay,
    "risk": risk,
    "fairness": fairness,
    "zone": zone,
    "retry_s": retry,
}

__all__ = ["TERMS", "Leg", "Term"]
