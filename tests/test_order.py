"""Files of tests come in an order that keeps all processes at work."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.order import TAIL, spread

Test = tuple[str, int]


def file_of(test: Test) -> str:
    return test[0]


def waits(test: Test) -> bool:
    return test[0].startswith("lab")


def test_files_that_wait_come_evenly_among_the_others_and_not_last() -> None:
    tests = [(f"lab{number}", 0) for number in range(3)] + [(f"other{number}", 0) for number in range(TAIL)]
    names = [name for name, _ in spread(tests, file_of, waits)]
    assert [place for place, name in enumerate(names) if name.startswith("lab")] == [1, 4, 8]
    assert names[-1] == f"other{TAIL - 1}"


@given(st.lists(st.tuples(st.sampled_from(["lab1", "lab2", "a", "b", "c"]), st.integers())))
def test_every_test_comes_once_and_a_file_comes_whole_in_its_own_order(tests: list[Test]) -> None:
    ordered = spread(tests, file_of, waits)
    for name in {name for name, _ in tests}:
        places = [place for place, test in enumerate(ordered) if test[0] == name]
        assert places == list(range(places[0], places[-1] + 1))
        assert [ordered[place] for place in places] == [test for test in tests if test[0] == name]
    assert len(ordered) == len(tests)
