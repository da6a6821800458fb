"""The oracles give what can be counted by hand."""

from __future__ import annotations

import pytest

from tests.oracles import dws_blocks, orbits
from tests.oracles.orbits import Space

HEADS = {"h": Space(3), "k": Space(3, parent="h"), "x": Space(2, moves=False)}


@pytest.mark.parametrize(
    ("spaces", "source", "target", "wanted"),
    [
        ({"d": Space(4)}, "dd", "dd", 15),  # Bell(4): partitions of four indices
        ({"d": Space(3)}, "dd", "dd", 14),  # without the one that needs four neurons
        ({"d": Space(4, moves=False)}, "d", "d", 16),
        (HEADS, "k", "k", 3),  # the same, another of its head, another head's
        (HEADS, "kx", "kx", 12),
        (HEADS, "k", "h", 2),
        (HEADS, "k", "", 1),
        ({"a": Space(2), "b": Space(2)}, "ab", "ab", 4),
        ({"a": Space(1)}, "a", "a", 1),
        ({"a": Space(2), "b": Space(2, parent="a"), "c": Space(2, parent="b")}, "c", "c", 4),
        ({"a": Space(2), "x": Space(2, moves=False, parent="a")}, "x", "x", 8),
    ],
)
def test_orbits_of_known_tensors(spaces: dict[str, Space], source: str, target: str, wanted: int) -> None:
    assert orbits.count(spaces, source, target) == wanted


@pytest.mark.parametrize(
    "dims", [(2, 3, 4), (3, 2, 2), (2, 3, 2, 3), (2, 2, 3, 2, 2), (1, 3, 3, 1), (2, 1, 3, 2), (2, 3)]
)
def test_the_closed_form_of_paper_d_counts_orbits(dims: tuple[int, ...]) -> None:
    last = len(dims) - 1
    spaces = {str(m): Space(size, moves=0 < m < last) for m, size in enumerate(dims)}
    names = [f"{kind}{m}" for m in range(1, last + 1) for kind in "Wb"]
    for source in names:
        for target in names:
            axes = [[str(layer) for layer in dws_blocks.layers(name)] for name in (source, target)]
            assert dws_blocks.count(dims, source, target) == orbits.count(spaces, *axes), (source, target)
