"""What a spec may name exists where it is used."""

from __future__ import annotations

from typing import get_args

import pytest

from graphws.errors import SpecError
from graphws.graph import ACTIVATIONS as OF_NETWORKS
from graphws.layers import ACTIVATIONS as OF_LAYERS
from graphws.layers.norm import NORMS
from graphws.pooling import POOLINGS, learned_pooling
from graphws.spec import json_schema, parse_spec
from graphws.spec.model import Norm
from graphws.spec.section import Activation, NetworkActivation


def test_activations_of_models() -> None:
    assert set(get_args(Activation)) == set(OF_LAYERS) - {"identity"}


def test_activations_of_networks() -> None:
    assert set(get_args(NetworkActivation)) <= set(OF_NETWORKS)


def test_poolings_are_those_of_the_table() -> None:
    properties = json_schema()["$defs"]["DwsnetModel"]["properties"]
    assert properties["pooling"]["enum"] == list(POOLINGS)
    for pool in POOLINGS:
        assert parse_spec(f"graphws: 1\nmodel: {{kind: dwsnet, pooling: {pool}}}").model.pooling == pool  # type: ignore[union-attr]


@pytest.mark.parametrize("pool", [name for name in POOLINGS if learned_pooling(name)])
def test_heads_divide_channels_wherever_a_pooling_is_learned(pool: str) -> None:
    with pytest.raises(SpecError, match=r"model\.heads is 3, which does not divide 32 channels"):
        parse_spec(f"graphws: 1\nmodel: {{kind: dwsnet, pooling: {pool}, heads: 3}}")


def test_norms() -> None:
    assert get_args(Norm) == NORMS
