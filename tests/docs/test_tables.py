"""docs/tables.md is what its script writes, and what it says about paper D's tables is so."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest

from tests.scripts import load_script

SCRIPT = Path(__file__).resolve().parents[2] / "docs" / "make_tables.py"


@pytest.fixture(scope="module")
def tables() -> ModuleType:
    return load_script(SCRIPT)


def test_the_page_is_in_step(tables: ModuleType) -> None:
    assert tables.render() == tables.PLACE.read_text(encoding="utf-8"), "run: python docs/make_tables.py"


def test_every_printed_row_is_there(tables: ModuleType) -> None:
    rows = {table: [row.number for row in tables.PRINTED if row.table == table] for table in (5, 6, 7, 8)}
    assert rows[5] == [*map(str, range(1, 18)), "M=2"]
    assert rows[6] == [*map(str, range(1, 7))]
    assert rows[7] == rows[8] == [*map(str, range(1, 12))]
    assert len(tables.ORBITS) == 5


def test_as_meant_every_block_has_one_row_with_our_count(tables: ModuleType) -> None:
    for depth in (*tables.DEPTHS, 6):
        counts = tables.ours(depth)
        seen = []
        for row in tables.PRINTED:
            for pair in tables.matches(row, depth, corrected=True):
                assert counts[pair] == row.count, (depth, row, pair)
                seen.append(pair)
        assert sorted(seen) == sorted(counts)


def test_as_meant_table_9_has_one_row_for_each_tensor(tables: ModuleType) -> None:
    for depth in tables.DEPTHS:
        for name, count in tables.our_orbits(depth).items():
            kind, m = name[0], int(name[1:])
            rows = [row for row in tables.ORBITS if row.kind == kind and (row.meant or row.printed)(m, depth)]
            assert [row.count for row in rows] == [count]


def test_rows_that_differ_have_a_reason_and_rows_with_a_reason_differ(tables: ModuleType) -> None:
    for row in tables.PRINTED:
        as_printed = {(m, pair) for m in tables.DEPTHS for pair in tables.matches(row, m, corrected=False)}
        as_meant = {(m, pair) for m in tables.DEPTHS for pair in tables.matches(row, m, corrected=True)}
        assert bool(tables.differences(row)) <= (as_printed != as_meant)
        assert (as_printed != as_meant) == (row.meant is not None)
        assert bool(row.remark) >= (row.meant is not None)


def test_known_slips(tables: ModuleType) -> None:
    differing = {(row.table, row.number) for row in tables.PRINTED if tables.differences(row)}
    assert differing == {(5, "4"), (5, "5"), (5, "8"), (5, "9")}
    assert tables.uncovered(5, 2) == (["W1→W2"], ["W2→W1"])
    assert tables.uncovered(7, 3) == (["W2→b3"], [])
    assert all(tables.uncovered(table, depth) == ([], []) for table in (6, 8) for depth in tables.DEPTHS)


@pytest.mark.parametrize(("number", "words"), [(1, "1"), (2, "2"), (9, "d_0²"), (30, "2·d_0·d_M"), (50, "2·d_M²")])
def test_counts_tell_their_symbols(tables: ModuleType, number: int, words: str) -> None:
    assert tables.text(tables.symbols(number)) == words


def test_a_changed_count_would_be_noticed(tables: ModuleType) -> None:
    row = tables.PRINTED[0]
    wrong = tables.Row(row.table, row.number, row.words, row.printed, (4, 2, 0))
    assert tables.differences(row) == []
    assert tables.differences(wrong)[0] == "W1→W1 at M=2: 2·d_0²"
