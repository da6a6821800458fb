"""What a model may read, and networks that come back in the gauge in which they were given."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from graphws.errors import RunError
from graphws.graph import Weights
from graphws.operations import mlp_graph
from graphws.runtime.environment import Processes
from graphws.runtime.folder import RunFolder
from graphws.runtime.job import choose_folder
from graphws.runtime.prepared import Prepared, unfit
from graphws.runtime.trained_model import TrainedModel
from graphws.spec import Spec, dump_spec, parse_spec
from graphws.zoo import orbit_statistics

GRAPH = mlp_graph([2, 4, 3, 1], activation="tanh")


def _spec(*overrides: str) -> Spec:
    text = """\
graphws: 1
name: one
input: {kind: zoo, path: zoo}
model: {kind: dwsnet}
head: {kind: invariant, outputs: 1}
task: {kind: regression, target: scale}
"""
    return parse_spec(text, overrides=overrides)


def _prepared(spec: Spec) -> tuple[Prepared, Weights]:
    draw = torch.Generator().manual_seed(0)
    weights = Weights.unflatten(GRAPH, torch.randn(8, GRAPH.numel, generator=draw) + 1)
    return Prepared(spec, (GRAPH,), ("a",), orbit_statistics(GRAPH, [weights]), torch.zeros(8, 1), None), weights


@pytest.mark.parametrize("gauge", ["none", "canonical"])
@pytest.mark.parametrize("normalize", ["true", "false"])
def test_restoring_undoes_preparing(gauge: str, normalize: str) -> None:
    spec = _spec(f"preprocess.gauge={gauge}", f"preprocess.normalize={normalize}")
    prepared, weights = _prepared(spec)
    assert spec.model is not None
    model = TrainedModel(nn.Identity(), spec.model, prepared, "dwsnet")
    seen = model.seen(weights)
    assert isinstance(seen, Weights)
    assert torch.allclose(model.restored(model.unscaled(seen), weights).flatten(), weights.flatten(), atol=1e-5)
    if gauge == "canonical" or normalize == "true":  # or else there was nothing to undo
        assert not torch.allclose(seen.flatten(), weights.flatten(), atol=1e-2)


def test_keys_make_no_other_architecture_and_activations_another_computation() -> None:
    prepared, _ = _prepared(_spec())
    section = _spec().model
    assert section is not None
    assert unfit(prepared, section, mlp_graph([2, 4, 3, 1], activation="tanh", keys=["a", "b", "c"])) == ""
    assert unfit(prepared, section, mlp_graph([2, 4, 3, 1], activation="relu")) == (
        "it computes something else: x1 = relu(z1) where the others have x1 = tanh(z1); "
        "train a model on networks like it"
    )
    assert unfit(prepared, section, mlp_graph([2, 4, 4, 1])) == (
        "it is of another architecture: space 'hidden2' has 4 elements, the model's 3; "
        "train a model with `model.share: role` to read several"
    )
    shared = _spec("model.share=role").model
    assert shared is not None
    assert unfit(prepared, shared, mlp_graph([2, 4, 4, 1])) == ""


def test_a_run_whose_spec_lacks_a_newer_key_goes_on(tmp_path: Path) -> None:
    spec = _spec()
    older = dump_spec(spec).replace(", metric: mse", "")
    assert older != dump_spec(spec)
    folder = RunFolder(tmp_path / "run")
    folder.create(older, {})
    assert choose_folder(parse_spec(older), folder.path, Processes()) == folder
    folder.spec.write_text(older.replace("target: scale", "target: size"))
    with pytest.raises(RunError, match="was edited after the run was started"):
        choose_folder(parse_spec(folder.spec.read_text()), folder.path, Processes())
