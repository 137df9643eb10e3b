"""Each parser of ours with whole inputs that were edited, and with bytes of any kind."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fuzz.targets import TARGETS, run

EXAMPLES = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck), database=None)
EDITS = st.lists(
    st.tuples(
        st.integers(0, 1 << 14),
        st.integers(0, 12),
        st.sampled_from(
            [b"", b"\xff" * 4, b"\0" * 8, b"9" * 30, b"[" * 2000, b"\x7f\xff\xff\xff", b'"', b"-1"]
        )
        | st.binary(max_size=6),
    ),
    max_size=5,
)


def edited(data: bytes, edits: list[tuple[int, int, bytes]]) -> bytes:
    for place, length, piece in edits:
        at = place % (len(data) + 1)
        data = data[:at] + piece + data[at + length :]
    return data


@pytest.mark.parametrize("name", TARGETS)
def test_whole_inputs_are_read(name):
    for seed in TARGETS[name].seeds:
        TARGETS[name].read(seed)


@pytest.mark.parametrize("name", TARGETS)
def test_any_bytes_give_a_value_or_an_error_of_ours(name):
    target = TARGETS[name]

    @EXAMPLES
    @given(st.builds(edited, st.sampled_from([b"", *target.seeds]), EDITS) | st.binary(max_size=200))
    def check(data: bytes) -> None:
        run(target, data)

    check()
