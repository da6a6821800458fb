from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import nn

from graphws.converting import convert
from graphws.errors import GraphError, UsageError
from graphws.operations import forward, mlp_graph
from tests.converters.networks import Siren, seeded
from tests.graph import samples

MLP = seeded(lambda: nn.Sequential(nn.Linear(2, 5), nn.Tanh(), nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 1)))
STATE = MLP.state_dict()


def test_a_chain_is_a_hypothesis_that_says_what_it_assumes() -> None:
    result = convert(STATE, activation="tanh")
    assert result.graph == mlp_graph([2, 5, 4, 1], "tanh")
    assert result.verdict == (
        "UNVERIFIED (a state dict holds no code: taken as the chain 0 -> 2 -> 4 with tanh in between; "
        "the module would show it)"
    )
    assert result.weights is not None
    x = torch.randn(5, 2, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(forward(result.graph, result.weights, x)[0], MLP(x))


def test_nothing_is_guessed() -> None:
    message = (
        r"^a state dict does not say what runs between its 3 linear layers: name it with activation= "
        r"\(and omega= for sines\), or convert the module$"
    )
    with pytest.raises(UsageError, match=message):
        convert(STATE)
    with pytest.raises(UsageError, match=r"^a state dict does not hold the frequency of its sines: give omega=$"):
        convert(STATE, activation="sine")
    with pytest.raises(UsageError, match=r"^a state dict does not hold the power of its activations: give exponent=$"):
        convert(STATE, activation="power")
    assert convert(STATE, activation=["sine", "tanh"], omega=5).graph.operations[1].attribute("omega", 0) == 5.0
    assert str(convert(STATE, activation="power", exponent=3).graph.parameter("W2")) == "W2[hidden2, hidden1^-3]"
    assert convert(nn.Linear(2, 3).state_dict()).graph == convert(nn.Linear(2, 3)).graph, "nothing runs in between"


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".safetensors"])
def test_checkpoints_of_a_siren(tmp_path: Path, suffix: str) -> None:
    siren = seeded(Siren)
    path = tmp_path / f"siren{suffix}"
    if suffix == ".safetensors":
        safetensors.torch.save_file(siren.state_dict(), path)
    else:
        torch.save(siren.state_dict(), path)
    for source in (path, str(path)):
        result = convert(source, activation="sine", omega=30)
        verified = convert(siren)
        assert verified.verified
        assert result.graph == verified.graph
        assert result.weights is not None
        assert verified.weights is not None
        assert samples.same_bits(result.weights, verified.weights)
    assert result.verdict.startswith(f"UNVERIFIED (siren{suffix} holds no code: taken as the chain net.0.linear -> ")


def test_numbers_in_names_put_layers_in_order_where_the_file_does_not() -> None:
    widths = [3, *range(20, 31), 2]
    layers = {f"net.{k}.weight": torch.zeros(b, a) for k, (a, b) in enumerate(itertools.pairwise(widths))}
    shuffled = dict(sorted(layers.items()))
    assert list(shuffled) != list(layers)
    graph = convert(shuffled, activation="relu").graph
    assert [p.storage.key for p in graph.parameters if p.storage] == list(layers)


def test_what_is_no_chain_is_refused() -> None:
    message = r"^the linear layers of a state dict do not chain \(0 5x2, 2 4x5, 4 1x9\): convert the module$"
    with pytest.raises(GraphError, match=message):
        convert({**STATE, "4.weight": torch.zeros(1, 9)}, activation="relu")
    message = (
        r"^'bn\.running_mean' of shape \(5,\) belongs to no linear layer; a bare state dict is read as a chain of "
        r"linear layers only: convert the module$"
    )
    with pytest.raises(GraphError, match=message):
        convert({**STATE, "bn.running_mean": torch.zeros(5)}, activation="relu")
    with pytest.raises(GraphError, match=r"^'0\.bias' of shape \(4,\) belongs to no linear layer; "):
        convert({**STATE, "0.bias": torch.zeros(4)}, activation="relu")
    with pytest.raises(GraphError, match=r"^'conv\.weight' of shape \(2, 1, 3, 3\) belongs to no linear layer; "):
        convert({"conv.weight": torch.zeros(2, 1, 3, 3)}, activation="relu")


def test_permute_then_convert_is_convert_then_permute() -> None:
    result = convert(STATE, activation="tanh")
    assert result.weights is not None
    after = result.graph.group().random(torch.Generator().manual_seed(1), actions="rich").act(result.weights)
    again = convert(after.to_state_dict(), activation="tanh")
    assert again.weights is not None
    assert samples.same_bits(again.weights, after)
