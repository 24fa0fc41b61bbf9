"""What a region remembers of its answers."""

from __future__ import annotations

from domain.orders.records import Answer
from domain.region.answers import Answers

TAKEN = Answer(body={"offer_id": "o", "tasks": [{"lat": 32.5, "items": 2, "note": None, "sober": True}]})


def test_an_answer_comes_back_as_it_was_with_its_requests_fingerprint() -> None:
    answers = Answers(10)
    answers.remember("ann|ws", "k", "print", TAKEN)
    assert answers.known("ann|ws", "k") == ("print", TAKEN)
    assert answers.known("ann|ws", "l") is None
    assert answers.known("bob|ws", "k") is None


def test_the_oldest_is_forgotten_first() -> None:
    answers = Answers(2)
    for key in "abc":
        answers.remember("ann|ws", key, key, Answer(code="NOT_FOUND", detail=key))
    assert len(answers) == 2
    assert answers.known("ann|ws", "a") is None
    assert answers.known("ann|ws", "c") == ("c", Answer(code="NOT_FOUND", detail="c"))


def test_a_memory_knows_whether_it_may_have_forgotten() -> None:
    answers = Answers(2)
    for key in ("a", "b"):
        answers.remember("ann|ws", key, key, TAKEN)
        assert answers.complete
    answers.remember("ann|ws", "c", "c", TAKEN)
    assert not answers.complete
    assert not Answers(2, complete=False).complete
