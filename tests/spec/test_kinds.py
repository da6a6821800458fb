"""What a spec may name exists where it is used."""

from __future__ import annotations

from typing import get_args

from graphws.graph import ACTIVATIONS as OF_NETWORKS
from graphws.layers import ACTIVATIONS as OF_LAYERS
from graphws.layers.norm import NORMS
from graphws.spec.models import Norm
from graphws.spec.section import Activation, NetworkActivation


def test_activations_of_models() -> None:
    assert set(get_args(Activation)) == set(OF_LAYERS) - {"identity"}


def test_activations_of_networks() -> None:
    assert set(get_args(NetworkActivation)) <= set(OF_NETWORKS)


def test_norms() -> None:
    assert get_args(Norm) == NORMS
