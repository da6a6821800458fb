"""Where the maps of a residual stream cannot be tried, the reason is said: in notes, and in the error where refining
was asked for."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from graphws.align import align, compare
from graphws.align import match_streams as exported
from graphws.align import refine as exported_refine
from graphws.align.orthogonal import match_streams, refine
from graphws.converting import convert
from graphws.errors import UsageError
from graphws.graph import Weights
from graphws.operations.sampling import random_weights
from tests.align.transformers import Encoder
from tests.operations.test_rms_form import Net

NO_PLACE = "the network has no place for 'up.weight~shift': its norms' shifts have no bias to go to"


def two(net: nn.Module, example: torch.Tensor) -> list[Weights]:
    graph = convert(net.eval(), example).graph
    return [random_weights(graph, 1, torch.Generator().manual_seed(seed)) for seed in range(2)]


def test_a_form_without_a_way_back_is_told() -> None:
    first, second = two(Net(bias=False), torch.randn(4, 3))
    found = align(first, second)
    assert all(candidate.matching != "streams" for candidate in found.candidates)
    assert found.notes == (f"no orthogonal map of the residual stream was tried: {NO_PLACE}",)
    assert any(NO_PLACE in note for note in compare(first, second, inputs=torch.randn(9, 3)).notes)
    with pytest.raises(UsageError, match=r"^refine: the network has no place for 'up.weight~shift'"):
        align(first, second, refine=(torch.randn(9, 3), None))


def test_a_stream_that_stays_is_told() -> None:
    first, second = two(Encoder(norm_first=False), torch.randn(4, 5, 4))
    (note,) = align(first, second).notes
    assert "adds something else to the stream" in note
    with pytest.raises(UsageError, match=r"^refine: this graph has no residual stream .* adds something else"):
        align(first, second, refine=(torch.randn(9, 5, 4), None))


def test_nothing_is_told_where_streams_are_tried_or_there_is_none() -> None:
    first, second = two(Net(), torch.randn(4, 3))
    assert align(first, second).notes == ()
    first, second = two(nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2)), torch.randn(4, 3))
    assert align(first, second).notes == ()


def test_refining_says_which_search_it_belongs_to() -> None:
    first, second = two(Net(), torch.randn(4, 3))
    with pytest.raises(UsageError, match="refine: takes method 'weights', rich actions"):
        align(first, second, actions="permutation", refine=(torch.randn(9, 3), None))


def test_the_package_has_both_by_their_names() -> None:
    assert exported is match_streams
    assert exported_refine is refine
