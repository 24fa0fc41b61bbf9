"""The page of the gates shows all of them, and names proofs that there are."""

from __future__ import annotations

import importlib

from scripts.gates_page import gates_page
from tests.qa.gates import GATES

PROOFS = [proof for gate in GATES for proof in gate.proofs]


def test_every_gate_is_proven_by_tests_that_there_are() -> None:
    for proof in PROOFS:
        module, _, name = proof.partition("::")
        assert callable(getattr(importlib.import_module(f"tests.qa.{module}"), name)), proof
    assert len(set(PROOFS)) == len(PROOFS)


def test_the_page_shows_every_gate_with_what_asks_for_it() -> None:
    page = gates_page("")
    for gate in GATES:
        assert f"| {gate.rule} | {gate.requirements} | {gate.clauses or '–'} |" in page
    for proof in PROOFS:
        assert f"`{proof}`" in page
