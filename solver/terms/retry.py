"""What an offer that is not taken loses."""

from __future__ import annotations

from solver.terms.leg import Leg


def retry(leg: Leg) -> float:
    """One: the weight is the seconds until the next driver is asked. Divided by the probability of acceptance like all
    terms, it prefers who is likely to say yes."""
    return 1.0 if leg.driver is not None else 0.0
