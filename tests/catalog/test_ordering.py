"""Answers in the order of their questions."""

from hypothesis import given
from hypothesis import strategies as st

from holdfast.catalog.ordering import InOrder


@given(st.permutations(range(8)), st.sets(st.integers(0, 7)))
def test_values_come_in_order_whatever_order_they_were_put_in(order, dropped):
    line = InOrder()
    for number in range(8):
        line.expect(str(number))
    taken = []
    for number in order:
        if number in dropped:
            line.drop(str(number))
        else:
            line.put(str(number), number)
        taken += line.take()
    assert taken == [number for number in range(8) if number not in dropped]
    assert len(line) == 0


def test_one_that_is_late_holds_the_others_up_for_a_while_only():
    for line, is_last in [(InOrder(patience_s=-1), False), (InOrder(), True)]:
        for name in "abc":
            line.expect(name)
        line.put("b", 2)
        assert line.take(is_last=is_last) == [2]
        line.put("a", 1)
        line.put("c", 3)
        assert line.take() == [1, 3]
    assert InOrder().take(is_last=True) == []
