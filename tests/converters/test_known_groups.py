"""The largest known group of each architecture, counted by hand on small cases, and what the converters find of it."""

from __future__ import annotations

import itertools
import math

import pytest

from graphws.checkpoints.coverage import share_of_group
from tests.converters import architectures, hugging_face, known_groups

LESS = {"experts in a list": 0.89}
"""Where the whole known group is not found: the exchange of experts in a list is no axis of any tensor."""


def _order(text: str) -> float:
    """log10 of the order of a group as the tables spell it: the heads of ``S_2 wr S_3`` stand by themselves."""
    sizes = [[int(factor.removeprefix("S_")) for factor in part.split(" wr ")] for part in text.split(" · ")]
    return sum(math.prod(outer) * known_groups.sets(inner) for inner, *outer in sizes)


def test_a_wreath_product_has_as_many_elements_as_it_lists() -> None:
    inner, outer = list(itertools.permutations(range(3))), list(itertools.permutations(range(2)))
    elements = {
        tuple(3 * top[k] + own[k][i] for k in range(2) for i in range(3))
        for top in outer
        for own in itertools.product(inner, repeat=2)
    }
    assert round(10 ** known_groups.wreath(3, 2)) == len(elements) == 72
    assert round(10 ** known_groups.wreath(2, 2, 2)) == 128
    assert known_groups.experts(4, 40) == pytest.approx(4 * math.log10(math.factorial(40)) + math.log10(24))


@pytest.mark.parametrize("name", known_groups.MODULES)
def test_modules_get_the_whole_known_group(name: str) -> None:
    share = share_of_group(_order(architectures.GROUPS[name]), known_groups.MODULES[name])
    assert share == pytest.approx(LESS.get(name, 1.0), abs=0.01)


@pytest.mark.parametrize("name", known_groups.MODELS)
def test_models_get_the_whole_known_group(name: str) -> None:
    pytest.importorskip("transformers")
    model, _, _ = hugging_face.build(name)
    known = known_groups.MODELS[name](model.config)
    assert share_of_group(_order(hugging_face.GROUPS[name]), known) == pytest.approx(1.0)


def test_a_lost_nesting_or_head_lowers_the_share() -> None:
    model, _, _ = hugging_face.build("Mixtral")
    known = known_groups.MODELS["Mixtral"](model.config)
    shared = hugging_face.GROUPS["Mixtral"].replace("S_20 wr S_4", "S_20")
    assert share_of_group(_order(shared), known) < 0.5
    heads = hugging_face.GROUPS["BERT"].replace("S_4 wr S_4", "S_4")
    assert share_of_group(_order(heads), known_groups.MODELS["BERT"](hugging_face.build("BERT")[0].config)) < 0.9
    assert share_of_group(0.0, 0.0) == 1.0
