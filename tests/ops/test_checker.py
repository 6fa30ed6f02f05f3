"""The checker is right about good histories, and finds what is wrong with bad ones."""

from __future__ import annotations

from typing import Any

from quorate.ops.checker import judge
from quorate.ops.history import History


def row(number: int, **values: Any) -> dict[str, Any]:
    """A stored product."""
    return {"id": f"id-{number}", "name": f"Product {number}", "price": "1.99", **values}


def history_of(*rows: dict[str, Any]) -> History:
    """A history in which these rows were acknowledged, one each second."""
    history = History()
    for at, item in enumerate(rows):
        history.acknowledge(float(at), item)
    return history


def copies(*rows: dict[str, Any]) -> dict[int, list[dict[str, Any]]]:
    """Three nodes that hold these rows."""
    return {node_id: list(rows) for node_id in (1, 2, 3)}


def test_three_equal_copies_of_what_was_acknowledged_are_good() -> None:
    verdict = judge(history_of(row(1), row(2)), copies(row(1), row(2)))
    assert verdict.good
    assert verdict.acknowledged == 2


def test_a_row_that_one_node_lacks_is_lost() -> None:
    nodes = copies(row(1), row(2))
    nodes[2].pop()
    verdict = judge(history_of(row(1), row(2)), nodes)
    assert (verdict.lost, verdict.identical, verdict.good) == (1, False, False)


def test_a_row_that_all_nodes_lack_is_lost_though_they_are_identical() -> None:
    verdict = judge(history_of(row(1), row(2)), copies(row(1)))
    assert (verdict.lost, verdict.identical, verdict.good) == (1, True, False)


def test_a_row_under_a_second_id_is_duplicated() -> None:
    verdict = judge(history_of(row(1)), copies(row(1), row(1, id="id-9")))
    assert (verdict.duplicated, verdict.good) == (1, False)


def test_a_row_that_a_node_lists_twice_is_duplicated() -> None:
    verdict = judge(history_of(row(1)), copies(row(1), row(1)))
    assert verdict.duplicated > 0
    assert not verdict.good


def test_a_retry_that_is_acknowledged_under_another_id_is_duplicated() -> None:
    verdict = judge(history_of(row(1), row(1, id="id-9")), copies(row(1), row(1, id="id-9")))
    assert verdict.duplicated > 0
    assert not verdict.good


def test_a_retry_that_is_refused_was_applied_before() -> None:
    history = history_of(row(1))
    history.refused.append("Product 2: 409")
    assert judge(history, copies(row(1), row(2))).duplicated == 1


def test_other_values_than_were_acknowledged_are_altered() -> None:
    verdict = judge(history_of(row(1)), copies(row(1, price="2.99")))
    assert (verdict.altered, verdict.identical, verdict.good) == (1, True, False)


def test_a_node_with_other_values_differs() -> None:
    nodes = copies(row(1))
    nodes[3] = [row(1, price="2.99")]
    verdict = judge(history_of(row(1)), nodes)
    assert (verdict.altered, verdict.identical, verdict.good) == (1, False, False)


def test_a_node_with_another_order_differs() -> None:
    nodes = copies(row(1), row(2))
    nodes[3].reverse()
    verdict = judge(history_of(row(1), row(2)), nodes)
    assert (verdict.identical, verdict.good) == (False, False)


def test_a_row_that_nobody_asked_for_is_unexpected() -> None:
    verdict = judge(history_of(row(1)), copies(row(1), row(2)))
    assert (verdict.unexpected, verdict.good) == (1, False)


def test_a_row_whose_creation_had_no_answer_may_be_there_or_not() -> None:
    history = history_of(row(1))
    history.unresolved.add("Product 2")
    assert judge(history, copies(row(1), row(2))).good
    assert judge(history, copies(row(1))).good


def test_no_node_at_all_is_not_identical() -> None:
    assert not judge(History(), {}).good
