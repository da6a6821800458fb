from __future__ import annotations

import io
import json
import math
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from graphws.actions import find_actions
from graphws.actions.decoys.shuffled import decoys, overlap
from graphws.actions.groups.naming import named_symmetry
from graphws.actions.groups.symmetry import close
from graphws.actions.measures.categories import CATEGORIES, negated_copies
from graphws.actions.measures.equivariance import end_to_end_error, linearity
from graphws.actions.problem import pose
from graphws.actions.search.linear_action import fit_linear_action, linear_errors
from graphws.checkpoints.conversion import Conversion
from graphws.converting import load_graph_file
from graphws.errors import UsageError
from graphws.graph import GroupElement, Monomial, Weights
from graphws.operations import mlp_graph
from tests.actions.planting import attention, pictures, rng
from tests.actions.test_symmetry import is_group_action

SHAPE = (3, 6, 6)


def unsymmetric(seed: int = 0) -> Weights:
    graph = mlp_graph([108, 24, 32, 108], ["tanh", "gelu"])
    draw = Weights.unflatten(graph, torch.randn(1, graph.numel, generator=rng(seed), dtype=torch.float64))
    return draw.map(lambda x: x / math.sqrt(x.shape[-1]))


@pytest.mark.parametrize("data", [False, True])
def test_a_hidden_action_is_reported_as_exact(data: bool) -> None:
    case = pictures(mlp_graph([108, 24, 32, 108], ["tanh", "gelu"]), "mirror", SHAPE)
    found = find_actions(case.planted.weights, "mirror", SHAPE, data=case.probes(60) if data else None)
    assert found.verdict.outcome == "exact action"
    assert found.verdict.layers == {"hidden1": "exact", "hidden2": "exact"}
    assert found.verdict.text.startswith("Exact action: mirror acts on every layer by the intertwiners")
    moved = found.elements[1].act(case.planted.weights)
    torch.testing.assert_close(moved.flatten(), case.planted.weights.flatten())
    first = found.layer("hidden1")
    truth = case.planted.actions[1]["hidden1"]
    assert isinstance(truth, Monomial)
    assert truth.scale is not None
    stays, negated = truth.perm == torch.arange(24), truth.scale < 0
    assert dict(first.categories["m"]) == {
        "self-symmetric": int((stays & ~negated).sum()),
        "self-negated": int((stays & negated).sum()),
        "mirrored": int((~stays & ~negated).sum()),
        "mirrored+negated": int((~stays & negated).sum()),
        "negated copy": 0,
        "none": 0,
    }
    assert (first.matched, first.unexplained, first.defect) == (1.0, 0.0, 0.0)
    assert first.best_rival is not None
    assert first.best_rival.matched < 0.2
    assert first.best_rival.k_error > 0.3
    assert (found.end_to_end is not None) is data
    if data:
        assert found.end_to_end is not None
        assert found.end_to_end < 1e-10
        assert first.gl_error is not None
        assert first.nu is not None


@pytest.mark.parametrize("data", [False, True])
@pytest.mark.parametrize("seed", [0, 1])
def test_a_network_without_the_symmetry_gets_no_action(data: bool, seed: int) -> None:
    weights = unsymmetric(seed)
    probes = torch.randn(60, 108, generator=rng(7), dtype=torch.float64) if data else None
    found = find_actions(weights, "mirror", SHAPE, data=probes)
    assert found.verdict.outcome == "no action found"
    assert set(found.verdict.layers.values()) == {"none"}
    assert found.verdict.text.startswith("No action found: ")


@pytest.mark.parametrize("data", [False, True])
@pytest.mark.parametrize("decoy", ["flip", "rotations:2", "transpose", "shuffled"])
def test_decoy_groups_get_no_action(data: bool, decoy: str) -> None:
    case = pictures(mlp_graph([108, 24, 32, 108], ["tanh", "gelu"]), "mirror", SHAPE)
    group = decoys(case.symmetry, SHAPE, count=4, generator=rng())[-1] if decoy == "shuffled" else decoy
    found = find_actions(case.planted.weights, group, SHAPE, data=case.probes(60) if data else None)
    assert found.verdict.outcome == "no action found"


def test_heads_get_a_verdict_too() -> None:
    case = attention("Z2")
    found = find_actions(case.planted.weights, case.symmetry, case.shape, data=case.probes(30))
    assert found.verdict.outcome == "exact action"
    assert found.layer("value1").size == 6
    assert sum(found.layer("value1").categories["a"].values()) == 6
    moved = found.elements[1].act(case.planted.weights)
    torch.testing.assert_close(moved.flatten(), case.planted.weights.flatten())


def test_noise_makes_it_approximate() -> None:
    case = pictures(mlp_graph([108, 24, 32, 108], ["tanh", "gelu"]), "mirror", SHAPE)
    found = find_actions(case.planted.noisy(0.1, rng(2)), "mirror", SHAPE, data=case.probes(200))
    assert found.verdict.outcome == "action found"
    assert 0.01 < found.layer("hidden1").k_error < 0.3


def test_json_holds_every_figure() -> None:
    case = pictures(mlp_graph([108, 24, 108], "tanh"), "mirror", SHAPE)
    found = find_actions(case.planted.weights, "mirror", SHAPE, data=case.probes(60))
    data = json.loads(found.to_json())
    assert data["outcome"] == "exact action"
    assert data["verdict"] == found.verdict.text
    first = data["layers"][0]
    for key in ("k_error", "weight_error", "gl_error", "nu", "defect", "matched", "unexplained", "decoy_k_error"):
        assert isinstance(first[key], float | int), key
    assert set(first["decoys"]) == {"flip", "rotations-2", "mirror, inputs shuffled"}


def test_decoys_are_groups_of_the_same_order_and_other_elements() -> None:
    for group, shape in (("mirror", SHAPE), ("dihedral", SHAPE), ({"kind": "tokens", "grid": [2, 3]}, (6, 4))):
        symmetry = named_symmetry(group, shape)
        found = decoys(symmetry, shape, count=4, generator=rng())
        assert len(found) == 4
        for decoy in found:
            assert decoy.order == symmetry.order
            assert is_group_action(decoy)
            assert not torch.equal(decoy.input[1].matrix(), symmetry.input[1].matrix())


def test_no_decoy_is_the_group_itself() -> None:
    """Four numbers pair off in three ways: two of them are decoys, never the third; two numbers leave no decoy."""
    pairs = close("pairs", {"a": Monomial(torch.tensor([1, 0, 3, 2]))})
    for seed in range(10):
        found = decoys(pairs, (4,), count=4, generator=rng(seed))
        assert sorted(decoy.input[1].perm.tolist() for decoy in found) == [[2, 3, 0, 1], [3, 2, 1, 0]]  # type: ignore[union-attr]
        assert overlap(pairs.input, [element for decoy in found for element in decoy.input[1:]]) < 1
    assert overlap(pairs.input, [pairs.input[1]]) == 1
    swap = close("swap", {"a": Monomial(torch.tensor([1, 0]))})
    assert decoys(swap, (2,), count=3, generator=rng()) == []


def test_a_linear_action_is_fitted_where_no_permutation_acts() -> None:
    """A linear layer between tanh layers, mixed by a random basis, carries the mirror by a matrix only."""
    case = pictures(mlp_graph([108, 24, 24, 108], ["tanh", "tanh"]), "mirror", SHAPE)
    problem = pose(case.planted.weights, case.symmetry, SHAPE, case.probes(2000))
    errors, defects = linear_errors(problem)
    assert errors["hidden1"] < 0.2  # a permutation is a matrix too; the fit is not exact on a nonlinear layer
    assert max(defects.values()) < 0.2
    wrong = pose(unsymmetric(), case.symmetry, SHAPE, case.probes(2000))
    assert linear_errors(wrong)[0]["output"] > 0.5
    action = fit_linear_action(problem, problem.layers[0])
    inner = action.matrices[1] @ action.matrices[1]
    torch.testing.assert_close(inner, torch.eye(len(inner)).double(), atol=1e-8, rtol=0)


def test_linearity_of_neurons() -> None:
    graph = mlp_graph([108, 24, 32, 108], ["tanh", "gelu"])
    case = pictures(graph, "mirror", SHAPE)
    small = Weights(graph, {**case.planted.weights.tensors, "W1": 1e-3 * case.planted.weights["W1"]})
    nu = linearity(pose(small, case.symmetry, SHAPE, case.probes(200)))
    usual = linearity(pose(case.planted.weights, case.symmetry, SHAPE, case.probes(200)))
    assert float(nu["hidden1"].max()) < 1e-6
    assert float(usual["hidden1"].median()) > 1e-3
    assert nu["hidden1"].shape == (24,)


def test_negated_copies_are_seen() -> None:
    weights = unsymmetric()
    pair = weights["W1"].clone()
    pair[0, 1], pair[0, 5] = -2 * pair[0, 0], pair[0, 4]
    bent = Weights(weights.graph, {**weights.tensors, "W1": pair})
    problem = pose(bent, named_symmetry("mirror", SHAPE), SHAPE)
    assert negated_copies(problem, "hidden1").nonzero().flatten().tolist() == [0, 1]


def test_a_graph_without_weights_is_refused() -> None:
    with pytest.raises(UsageError) as error:
        find_actions(Conversion(mlp_graph([4, 3, 2])), "mirror", (2, 2))
    assert str(error.value) == "this graph has no weights: give a checkpoint, or a converted network's file"


def cifar(shared: Path, points: int) -> Tensor:
    """Test pictures as the checkpoints saw them: a 28 × 28 crop, averaged to 14 × 14, standardised."""
    archive = shared / "data" / "cifar10" / "cifar10-test.zip"
    if not archive.is_file():
        pytest.skip(f"needs {archive}")
    with zipfile.ZipFile(archive) as opened:
        names = sorted(name for name in opened.namelist() if name.endswith(".jpg"))
        order = torch.randperm(len(names), generator=rng())[:points].tolist()
        read = [np.asarray(Image.open(io.BytesIO(opened.read(names[k]))).convert("RGB")) for k in order]
    crops = torch.from_numpy(np.stack(read))[:, 2:30, 2:30].double().permute(0, 3, 1, 2)
    return (torch.nn.functional.avg_pool2d(crops, 2) / 255 - 0.47) / 0.25


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "activations", "output", "outcome"),
    [
        ("ae_tanh", ["tanh", "gelu", "gelu"], "same", "action in part"),
        ("cls_tanh", ["tanh", "gelu", "gelu"], "invariant", "action found"),
        ("ae_gelu", ["gelu", "gelu", "gelu"], "same", "no action found"),
    ],
)
def test_networks_trained_on_cifar(shared: Path, name: str, activations: list[str], output: str, outcome: str) -> None:
    network = load_graph_file(shared / "checkpoints" / "cifar-mirror" / f"{name}.pt", activation=activations)
    found = find_actions(network, "mirror", (3, 14, 14), output, data=cifar(shared, 1500), decoys=4)
    first = found.layer("hidden1")
    assert found.verdict.outcome == outcome
    assert found.end_to_end is not None
    assert found.end_to_end < 0.05 / 0.66  # mirrored, these pictures move by 66 % of what parts unrelated ones
    assert first.best_rival is not None
    assert first.matched >= 5 * first.best_rival.matched
    if name == "ae_gelu":
        assert first.negated > 0.8  # σ(x) - σ(-x) = x
    else:
        assert first.matched > 0.7
    if name != "cls_tanh":
        assert found.verdict.layers["hidden3"] == "linear only"
    assert set(CATEGORIES) == set(first.categories["m"])


def test_the_elements_are_a_homomorphism_on_weights() -> None:
    case = pictures(mlp_graph([108, 24, 108], "relu"), "rotations:4", SHAPE)
    found = find_actions(case.planted.weights, "rotations:4", SHAPE, decoys=0)
    r = found.words.index("r")
    twice = found.elements[r] @ found.elements[r]
    other = found.elements[int(found.table[r, r])]
    draw = Weights.unflatten(case.graph, torch.randn(1, case.graph.numel, generator=rng(3), dtype=torch.float64))
    torch.testing.assert_close(twice.act(draw).flatten(), other.act(draw).flatten())
    assert case.graph.group().contains(GroupElement(case.graph, {"hidden1": found.elements[r].maps["hidden1"]}))
    assert end_to_end_error(pose(case.planted.weights, case.symmetry, SHAPE)) is None


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("data", [False, True])
def test_a_gpu_finds_the_same(data: bool) -> None:
    for case in (pictures(mlp_graph([108, 24, 32, 108], ["tanh", "relu"]), "dihedral", SHAPE), attention("S3")):
        probes = case.probes(60) if data else None
        here = find_actions(case.planted.weights, case.symmetry, case.shape, data=probes)
        there = find_actions(case.planted.weights, case.symmetry, case.shape, data=probes, device="cuda")
        assert there.verdict.outcome == here.verdict.outcome == "exact action"
        assert there.network is not None
        assert there.network.device.type == "cpu"
        moved = there.elements[1].act(case.planted.weights)
        torch.testing.assert_close(moved.flatten(), case.planted.weights.flatten())
        assert set(json.loads(there.to_json())["parameters"]) == set(case.planted.weights.tensors)
        assert there.to_networkx().number_of_nodes() == here.to_networkx().number_of_nodes()
