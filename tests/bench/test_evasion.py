"""The matrix of evasions: its tables take the place of the former ones in the documentation, and of nothing else."""

from __future__ import annotations

from tests.bench.bench_evasion import PAGE, Line, written

PAGE_TEXT = (
    "Before.\n\n| family | sessions | ids | Suricata 7 |\n| --- | --: | --: | --: |\n| old | 1 | 1 | 1 |\n\nBehind.\n"
)


def test_a_table_takes_the_place_of_the_former_one() -> None:
    table = [("family", "sessions", "ids", "Suricata 8"), ("new\\1", "2", "1", "-")]
    new = written(PAGE_TEXT, [table])
    assert new.splitlines()[2:5] == [
        "| family | sessions | ids | Suricata 8 |", "| --- | --: | --: | --: |", "| new\\1 | 2 | 1 | - |"
    ]  # fmt: skip
    assert new.startswith("Before.\n\n")
    assert new.endswith("|\n\nBehind.\n")


def test_the_documentation_has_both_tables() -> None:
    page = PAGE.read_text()
    assert "| family | sessions | ids | " in page
    assert "| evasion | sessions | ids | " in page


def test_a_line_that_both_find_whole_is_left_out() -> None:
    assert Line("a", 10, 10, 10).found_by_both
    assert Line("a", 10, 10, None).found_by_both
    assert not Line("a", 10, 10, 0).found_by_both
    assert not Line("a", 10, 9, 10).found_by_both
