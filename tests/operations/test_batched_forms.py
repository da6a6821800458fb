"""Batched forms of kinds give what a loop over networks gives, whichever operands the networks share."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor

from graphws.kinds import kind
from graphws.kinds.batched import FORMS

Shape = tuple[int, ...]
CASES: dict[str, list[tuple[list[Shape | None], dict[str, Any]]]] = {
    "linear": [
        ([(7, 3), (4, 3), (4,)], {}),
        ([(2, 7, 3), (4, 3), None], {}),
        ([(3,), (4, 3), (4,)], {}),
        ([(2, 7, 6), (4, 3, 2), (4,)], {"reads": 2}),
        ([(2, 7, 3), (2, 4, 3), (2, 4)], {}),
    ],
    "batch_norm": [
        ([(5, 3, 4, 4), (3,), (3,), (3,), (3,)], {}),
        ([(5, 3), None, (3,), (3,), (3,)], {"eps": 1e-2}),
        ([(5, 3, 4), (3,), None, (3,), (3,)], {}),
    ],
    "layer_norm": [
        ([(5, 7, 3), (3,), (3,)], {"normalized_shape": (3,)}),
        ([(5, 7, 3), (7, 3), None], {"normalized_shape": (7, 3), "eps": 1e-2}),
        ([(5, 3), None, (3,)], {"normalized_shape": (3,)}),
        ([(5, 3), None, None], {"normalized_shape": (3,)}),
    ],
    "scaled_dot_product_attention": [
        ([(5, 2, 6, 4), (5, 2, 7, 4), (5, 2, 7, 3), None], {}),
        ([(5, 2, 6, 4), (5, 2, 7, 4), (5, 2, 7, 4), (6, 7)], {"scale": 0.3}),
        ([(5, 4, 6, 4), (5, 2, 6, 4), (5, 2, 6, 4), None], {"enable_gqa": True, "is_causal": True}),
        ([(5, 6, 4), (5, 7, 4), (5, 7, 4), (5, 6, 7)], {}),
    ],
    **{
        name: [([(5, 3), (5, 3)], {}), ([(5, 3), (3,)], {}), ([(), (5, 3)], {}), ([(2, 5, 3), (5, 1)], {})]
        for name in ("add", "sub", "mul", "div", "maximum", "minimum")
    },
}
CASES["add"].append(([(5, 3), (3,)], {"alpha": 2}))


def test_every_form_is_tried() -> None:
    assert set(CASES) == set(FORMS)


def looped(name: str, operands: list[Tensor | None], constants: dict[str, Any]) -> Tensor:
    rows = []
    for k in range(3):
        mine = [x if x is None else x[min(k, len(x) - 1)] for x in operands]
        rows.append(kind(name)(*mine, **constants))
    return torch.stack(rows)


@pytest.mark.parametrize("name", CASES)
def test_forms_are_loops_over_networks(name: str) -> None:
    rng, used = torch.Generator().manual_seed(0), 0
    for shapes, constants in CASES[name]:
        for own in itertools.product([True, False], repeat=sum(shape is not None for shape in shapes)):
            if not any(own):
                continue
            batches = iter(own)
            operands = [
                None if s is None else torch.rand(3 if next(batches) else 1, *s, generator=rng).double() + 0.1
                for s in shapes
            ]
            leaves = [x.requires_grad_() for x in operands if x is not None]
            found = FORMS[name](kind(name), *operands, **constants)
            if found is None:
                continue
            used += 1
            expected = looped(name, operands, constants)
            assert found.shape == expected.shape
            torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
            slopes = [torch.autograd.grad(y.square().sum(), leaves) for y in (found, expected)]
            for slope, wanted in zip(*slopes, strict=True):
                torch.testing.assert_close(slope, wanted, rtol=1e-9, atol=1e-9)
    assert used >= 3


def test_forms_step_aside_where_they_would_be_wrong() -> None:
    numbers, single = torch.rand(3, 5), torch.rand(1).double()  # one network's `single` is a number without axes
    assert FORMS["add"](kind("add"), numbers, single) is None
    assert FORMS["linear"](kind("linear"), torch.rand(3, 5, 4), torch.rand(1, 2, 4)) is None
    assert FORMS["linear"](kind("linear"), torch.rand(3, 5, 4), torch.rand(3, 4)) is None
    assert FORMS["batch_norm"](kind("batch_norm"), torch.rand(3, 5, 4)) is None
    query = torch.rand(3, 5, 2, 4)
    own_mask = torch.rand(3, 2, 2)
    assert FORMS["scaled_dot_product_attention"](kind("relu"), query, query, query, own_mask) is None
    assert FORMS["scaled_dot_product_attention"](kind("relu"), query, query[:1], query) is None
