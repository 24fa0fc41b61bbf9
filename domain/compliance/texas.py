"""Texas.

Alcohol: 21 years, Tex. Alco. Bev. Code § 106.03 (sale to minors); nothing to an intoxicated person, § 101.63; delivery
to a consumer's door by permit, ch. 57. Cigarettes, e-cigarettes and tobacco: 21 years, Tex. Health & Safety Code
§ 161.082. Goods that cannot be handed over go back to the store.
"""

from __future__ import annotations

from domain.compliance.rulebook import Rulebook

RULEBOOK = Rulebook(
    jurisdiction="TX",
    min_age_by_category={"alcohol": 21, "tobacco": 21, "general": 0},
    age_attempts_limit=3,
    age_attempts_s=24 * 3600,
    source="Tex. Alco. Bev. Code §§ 101.63, 106.03, ch. 57; Tex. Health & Safety Code § 161.082",
)
