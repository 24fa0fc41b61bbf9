"""What a jurisdiction asks for, as data. Rules fail closed: what is not known to be unrestricted is restricted."""

from __future__ import annotations

from msgspec import Struct


class Rulebook(Struct, frozen=True, kw_only=True):
    """The rules of one jurisdiction. `min_age_by_category` in years; a category not named has the strictest age.
    `age_attempts_limit`: of a person at age checks that did not pass, on whichever order, in `age_attempts_s` seconds.
    """

    jurisdiction: str
    min_age_by_category: dict[str, int]
    age_attempts_limit: int
    age_attempts_s: float
    source: str

    def min_age(self, categories: list[str]) -> int:
        """The age in years that a basket of these product categories asks for (0: unrestricted)."""
        strictest = max(self.min_age_by_category.values())
        return max(
            (self.min_age_by_category.get(category, strictest) for category in categories), default=strictest
        )

    def door_failure(
        self, *, over_age: bool, not_expired: bool, name_matches: bool, sober: bool
    ) -> str | None:
        """The reason why goods must not be handed over, or None when the check passes."""
        checks = (
            ("UNDER_AGE", over_age),
            ("ID_EXPIRED", not_expired),
            ("NAME_MISMATCH", name_matches),
            ("INTOXICATED", sober),
        )
        return next((reason for reason, ok in checks if not ok), None)
