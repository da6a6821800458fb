"""Dims: atoms, sums, products, and unification, whose laws are drawn at random."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from graphws_converters.algebra.dims import (
    Dim,
    atoms,
    free,
    is_free,
    laid_out,
    leaves,
    normal,
    order_of,
    product,
    reordered,
    total,
)
from graphws_converters.algebra.picking import pick
from graphws_converters.algebra.unify import cut, regroup, split_sum, unify


def _tree(draw: st.DrawFn, size: int, depth: int) -> Dim:
    """A random dim of a given size."""
    divisors = [k for k in range(2, size) if size % k == 0]
    kinds = ["atom"] + (["sum"] if size > 1 and depth else []) + (["product"] if divisors and depth else [])
    kind = draw(st.sampled_from([*kinds, "reordered"] if depth else kinds))
    if kind == "reordered":
        return reordered(_tree(draw, size, depth - 1), draw(st.permutations(range(size))))
    if kind == "sum":
        at = draw(st.integers(1, size - 1))
        return total([_tree(draw, at, depth - 1), _tree(draw, size - at, depth - 1)])
    if kind == "product":
        k = draw(st.sampled_from(divisors))
        return product([_tree(draw, k, depth - 1), _tree(draw, size // k, depth - 1)])
    return Dim(size, "an order" if draw(st.integers(0, 9)) == 0 else "")


@st.composite
def pairs(draw: st.DrawFn) -> tuple[Dim, Dim]:
    size = draw(st.sampled_from([1, 2, 4, 6, 8, 12, 24]))
    first, second = _tree(draw, size, 3), _tree(draw, size, 3)
    shared = draw(st.booleans())
    if shared and leaves(second):  # the two may have met before
        match = [leaf for leaf in leaves(first) if leaf.size == leaves(second)[0].size]
        if match:
            unify(match[0], leaves(second)[0], "an earlier meeting")
    return first, second


def _labels(dim: Dim) -> list[tuple[tuple[int, int], ...]]:
    """For each element of a dim its coordinates: (atom, index) pairs; free atoms count by themselves."""
    shape, items = normal(dim)
    if shape == "atom":
        atom = items[0]
        return [((id(atom), k),) if atom.size > 1 else () for k in range(atom.size)]
    if shape == "sum":
        return [label for item in items for label in _labels(item)]
    if shape == "reordered":
        base, order = order_of(dim)
        return [_labels(base)[k] for k in order]
    rows: list[tuple[tuple[int, int], ...]] = [()]
    for item in items:
        rows = [row + label for row in rows for label in _labels(item)]
    return rows


@settings(max_examples=400, deadline=None)
@given(pairs())
def test_unified_dims_are_the_same_or_free(pair: tuple[Dim, Dim]) -> None:
    first, second = pair
    before = {leaf for dim in pair for leaf in leaves(dim) if leaf.free}
    unify(first, second, "a test")
    assert len(_labels(first)) == len(_labels(second)) == first.size
    for leaf in before:
        assert is_free(leaf), "an order is never forgotten"
    if not (is_free(first) and is_free(second)):
        movable = {id(leaf) for dim in pair for leaf in leaves(dim) if not leaf.free}
        kept = [[tuple(c for c in label if c[0] in movable) for label in _labels(dim)] for dim in pair]
        assert kept[0] == kept[1], "whatever still moves, moves both alike"


@settings(max_examples=200, deadline=None)
@given(pairs(), st.data())
def test_cuts_and_regroupings_keep_the_elements(pair: tuple[Dim, Dim], data: st.DataObject) -> None:
    dim, other = pair
    at = data.draw(st.integers(0, dim.size))
    pieces = cut(dim, [at, dim.size - at])
    if pieces is not None:
        assert [piece.size for piece in pieces] == [at, dim.size - at]
        assert [label for piece in pieces if piece.size for label in _labels(piece)] == _labels(dim)
    divisor = data.draw(st.sampled_from([k for k in range(1, other.size + 1) if other.size % k == 0]))
    parts = regroup([other], [divisor, other.size // divisor])
    if parts is not None:
        assert [part.size for part in parts] == [divisor, other.size // divisor]


@settings(max_examples=300, deadline=None)
@given(pairs(), st.data())
def test_picked_elements_are_those_asked_for(pair: tuple[Dim, Dim], data: st.DataObject) -> None:
    dim, _ = pair
    order = data.draw(st.lists(st.integers(0, dim.size - 1), max_size=2 * dim.size))
    if data.draw(st.booleans()):
        order = list(dict.fromkeys(order))
    found = pick(dim, order)
    labels, wanted = _labels(found), _labels(dim)
    assert len(labels) == len(order)
    copies: dict[tuple[tuple[int, int], ...], int] = {}
    for label, k in zip(labels, order, strict=True):
        kept = [c for c in label if c in wanted[k]]
        assert sorted(kept) == sorted(wanted[k]), "an element is where it was asked for; factors may change places"
        assert len(label) - len(kept) == (order.count(k) > 1), "copies are told apart by one factor"
        copies[label] = copies.get(label, 0) + 1
    if len(set(wanted)) == len(wanted):
        assert set(copies.values()) <= {1}


@settings(max_examples=200, deadline=None)
@given(pairs())
def test_a_dim_laid_out_has_its_leaves_and_an_order(pair: tuple[Dim, Dim]) -> None:
    unify(*pair, "a test")
    for dim in pair:
        plain, order = laid_out(dim)
        assert leaves(plain) == leaves(dim)
        assert [_labels(plain)[k] for k in order] == _labels(dim)


def test_atoms_are_refined_everywhere_at_once() -> None:
    whole = Dim(12)
    elsewhere = total([whole, Dim(2)])
    unify(whole, product([Dim(3), Dim(4)]), "heads")
    assert str(elsewhere) == "((3 * 4) + 2)"
    assert [atom.size for atom in atoms(elsewhere)] == [3, 4, 2]
    parts = split_sum(whole, 4)
    assert parts is not None, "the slow factor splits"
    assert str(whole) == "((1 + 2) * 4)"


def test_structures_that_clash_are_free_with_a_reason() -> None:
    left, right = product([Dim(2), Dim(3)]), product([Dim(3), Dim(2)])
    unify(left, right, "add")
    assert {leaf.reason for leaf in leaves(left) + leaves(right)} == {
        "two structures clash: (2 * 3) and (3 * 2) in add"
    }


def test_an_axis_cannot_contain_itself() -> None:
    atom = Dim(4)
    around = product([atom, Dim(1)])
    assert unify(atom, around, "mul").size == 4
    assert not is_free(atom), "a factor of one is no factor"
    halves = Dim(4)
    cut(halves, [2, 2])
    first, second = leaves(halves)
    unify(first, second, "relabelled")
    pair = Dim(2)
    unify(pair, first, "meet")
    bigger = product([pair, pair])
    assert leaves(bigger) == 2 * leaves(pair)


def test_the_first_reason_stays() -> None:
    atom = Dim(3)
    free(atom, "first")
    free(atom, "second")
    assert atom.reason == "first"
    assert str(atom) == "3!"
