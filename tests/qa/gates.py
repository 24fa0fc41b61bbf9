"""The gates, each with what asks for it and the tests that prove it. `docs/gates.md` is made from this list."""

from __future__ import annotations

from typing import NamedTuple


class Gate(NamedTuple):
    """`requirements` by their ids, `clauses` of the law as in `domain.compliance`, `proofs` as `file::test` here."""

    rule: str
    requirements: str
    clauses: str
    proofs: tuple[str, ...]


_AGE = "Tex. Alco. Bev. Code § 106.03; Tex. Health & Safety Code § 161.082"
_DOOR = "Tex. Alco. Bev. Code §§ 101.63, 106.03, ch. 57; Tex. Health & Safety Code § 161.082"

GATES = (
    Gate(
        "What the table of steps does not name is refused: every state, event and role",
        "N6, C4",
        "",
        (
            "test_table::test_every_state_event_and_role",
            "test_deciders::test_whoever_may_not_is_refused_and_nothing_has_changed",
            "test_deciders::test_whoever_may_is_granted_a_step_of_the_law",
            "test_forged_facts::test_every_triple_that_is_not_the_laws_is_refused_and_leaves_nothing",
            "test_database_dossier::test_every_state_event_role_and_outcome",
            "test_database_moves::test_every_pair_of_order_states",
        ),
    ),
    Gate(
        "Nothing is paid, and nothing comes after it, before the customer's age is verified",
        "A1",
        _AGE,
        (
            "test_table::test_nothing_is_paid_before_the_customers_age_is_verified",
            "test_table::test_no_path_to_delivery_skips_a_gate",
        ),
    ),
    Gate(
        "Nothing leaves a store without its merchant, nor comes to a door without customer, merchant and driver",
        "A, C4",
        "",
        ("test_table::test_delivery_takes_customer_merchant_and_driver_whoever_else_conspires",),
    ),
    Gate(
        "A task is assigned by its own offer, accepted by the driver it was made to, and stays what it is",
        "A6",
        "",
        (
            "test_database_moves::test_every_pair_of_task_states",
            "test_database_moves::test_every_pair_of_offer_states",
            "test_database_moves::test_a_task_is_assigned_only_by_its_own_offer_accepted_by_that_driver",
            "test_database_moves::test_a_task_in_hand_changes_neither_driver_nor_what_it_is",
        ),
    ),
    Gate(
        "An ID is checked at the door, by the driver who holds the delivery, and passes with every flag",
        "A2",
        _DOOR,
        (
            "test_deciders::test_a_check_passes_with_every_flag_and_with_no_other_combination",
            "test_database_door::test_an_id_is_checked_at_the_door_and_nowhere_else",
        ),
    ),
    Gate(
        "Goods are handed over after that driver's passed check, and left at no door",
        "A2, A3",
        _DOOR,
        (
            "test_table::test_goods_are_handed_over_by_the_driver_after_a_passed_check",
            "test_database_door::test_the_door_stays_shut",
            "test_database_door::test_the_door_opens_to_the_holders_passed_check",
            "test_forged_facts::test_nobody_delivers_by_any_event_behind_a_door_where_no_id_was_checked",
            "test_database_moves::test_the_doors_gate_stands_where_every_edge_was_smuggled_in",
        ),
    ),
    Gate(
        "Goods that are in a car end with the customer, in the store, or on record as gone",
        "A7",
        "Tex. Alco. Bev. Code § 101.63, ch. 57",
        ("test_table::test_goods_in_the_car_end_at_the_customers_in_the_store_or_on_record_as_gone",),
    ),
    Gate(
        "Nothing is accepted that could not be brought back, if it is refused, before its store closes",
        "F8, A7",
        "",
        (
            "test_store_hours::test_what_could_not_come_back_before_ten_is_not_accepted_and_the_merchant_may_reject_it",
            "test_store_hours::test_what_is_accepted_in_time_keeps_its_closing_time_to_the_return",
            "test_store_hours::test_a_closed_store_sells_nothing",
        ),
    ),
    Gate(
        "Operators call off and give what is in the store, settle what is lost, and do nothing else to an order",
        "N6, C4",
        "",
        ("test_table::test_operators_call_off_give_take_away_and_settle_what_is_lost_and_do_nothing_else",),
    ),
    Gate(
        "What is over stays over",
        "C9",
        "",
        ("test_table::test_what_is_over_stays_over",),
    ),
    Gate(
        "What has happened is told as it happened: the dossier and the checks are only added to",
        "A4, A12",
        "",
        (
            "test_database_door::test_evidence_is_only_added_to",
            "test_database_dossier::test_a_dossier_begins_with_the_customers_order",
        ),
    ),
)
