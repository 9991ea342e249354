"""The oracle itself: each thing it must see, and what it must not call a fault."""

from __future__ import annotations

import pytest

from drill.oracle import Owed, Row, Sent, State, Verdict, judge, lane_of

FINE = Verdict(messages=3, accepted=3, lost=0, doubled=0, out_of_order=0, open=0, mistold=0, held=0, failed=0)


def owed(*texts: str) -> list[Owed]:
    return [Owed(f"id{n}", "lane", text, 0.0, 0.0) for n, text in enumerate(texts)]


def rows(*states: State, **changes: int) -> dict[str, Row]:
    made = [Row(f"id{n}", "c", state, "", n, 1, 1, 0) for n, state in enumerate(states)]
    return {row.message: row for row in made}


def sent(*texts: str) -> list[Sent]:
    return [Sent("lane", text, f"K{n}", float(n), 201) for n, text in enumerate(texts)]


def test_all_sent_once_in_order() -> None:
    verdict = judge(owed("a", "b", "c"), sent("a", "b", "c"), rows(*[State.SENT] * 3))
    assert verdict == FINE
    assert verdict.violations() == []


def test_told_as_sent_and_never_accepted_is_lost() -> None:
    assert judge(owed("a", "b"), sent("a"), rows(State.SENT, State.SENT)).lost == 1


def test_accepted_by_the_api_and_without_a_row_is_lost() -> None:
    assert judge(owed("a", "b"), sent("a"), rows(State.SENT)).lost == 1


def test_more_often_than_written_is_doubled() -> None:
    assert judge(owed("a", "a"), sent("a", "a", "a"), rows(State.SENT, State.SENT)).doubled == 1


def test_equal_texts_are_counted() -> None:
    verdict = judge(owed("a", "a", "a"), sent("a", "a", "a"), rows(*[State.SENT] * 3))
    assert verdict == FINE


def test_equal_texts_with_one_failure_need_one_less() -> None:
    verdict = judge(owed("a", "a"), sent("a"), rows(State.SENT, State.FAILED))
    assert (verdict.lost, verdict.doubled, verdict.mistold, verdict.failed) == (0, 0, 0, 1)


def test_failed_and_accepted_all_the_same_is_mistold() -> None:
    assert judge(owed("a"), sent("a"), rows(State.FAILED)).mistold == 1


def test_a_text_from_nowhere_twice_is_doubled() -> None:
    assert judge([], sent("a", "a"), {}).doubled == 1


def test_an_overtaken_message_is_out_of_order() -> None:
    verdict = judge(owed("a", "b", "c"), sent("a", "c", "b"), rows(*[State.SENT] * 3))
    assert verdict.out_of_order == 1


def test_rows_in_another_order_than_written_are_out_of_order() -> None:
    swapped = rows(State.SENT, State.SENT)
    swapped = {
        "id0": Row("id0", "c", State.SENT, "", 5, 1, 1, 0),
        "id1": Row("id1", "c", State.SENT, "", 4, 1, 1, 0),
    }
    assert judge(owed("a", "b"), sent("b", "a"), swapped).out_of_order == 1


def test_a_replayed_message_counts_from_its_new_place() -> None:
    replayed = {**rows(State.SENT, State.SENT), "id0": Row("id0", "c", State.SENT, "", 9, 1, 2, 1)}
    assert judge(owed("a", "b"), sent("b", "a"), replayed).out_of_order == 0


@pytest.mark.parametrize("state", [State.QUEUED, State.SENDING, State.VERIFYING])
def test_what_still_moves_is_open(state: State) -> None:
    assert judge(owed("a"), [], rows(state)).open == 1


def test_what_waits_behind_a_held_one_is_not_open() -> None:
    verdict = judge(owed("a", "b"), [], rows(State.HELD, State.QUEUED))
    assert (verdict.open, verdict.held, verdict.lost) == (0, 1, 0)


def test_a_customer_is_one_in_every_spelling() -> None:
    assert lane_of("5511960000001") == lane_of("551160000001@s.whatsapp.net") == lane_of("5511960000001@s.us")
