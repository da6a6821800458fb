"""Runs of the kinds rows, transformer and gnn: trained, kept, asked again, exported, beside a model that they match."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from graphws.errors import SpecError
from graphws.operations import mlp_graph
from graphws.reporter import Reporter
from graphws.runtime import job
from graphws.runtime.environment import Processes
from graphws.runtime.exporting import export_model
from graphws.runtime.model_explanation import explain_model
from graphws.runtime.named_models import unmatched
from graphws.runtime.prediction import Run
from graphws.spec import Spec, parse_spec
from graphws.zoo import Zoo
from tests.runtime import mixed

ALONE = Processes()
GRAPHS = {"tanh": mlp_graph([2, 3, 4, 1], activation="tanh", keys=["0", "2", "4"])}
KINDS = {
    "rows": "{kind: rows, layers: 2, width: 6}",
    "transformer": "{kind: transformer, layers: 1, width: 8, heads: 2, positions: layers, dropout: 0.1}",
    "gnn": "{kind: gnn, layers: 2, width: 4}",
    "gnn-channels": "{kind: gnn, layers: 1, width: 4, free: channels}",
}
NETWORKS = (
    "task=null",
    "task={kind: weights}",
    "augment.noise=0.1",
    "head=null",
    "head={kind: equivariant, networks: 1}",
)


def _spec(zoo: Zoo, model: str, *overrides: str) -> Spec:
    text = mixed.TEXT.format(zoo=zoo.path)
    return parse_spec(text, overrides=("train.epochs=2", "model=null", f"model={model}", *overrides))


def _zoo(path: Path) -> Zoo:
    return mixed.make(path, names=("tanh",), graphs=GRAPHS)


class Heard(Reporter):
    """Keeps what is noted."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def note(self, text: str) -> None:
        self.lines.append(text)


@pytest.mark.parametrize("returned", ["numbers", pytest.param("networks", marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", KINDS)
def test_a_model_is_trained_kept_and_asked_again(tmp_path: Path, name: str, returned: str) -> None:
    zoo = _zoo(tmp_path / "zoo")
    spec = _spec(zoo, KINDS[name], *(NETWORKS if returned == "networks" else ()))
    folder = job.choose_folder(spec, tmp_path / "run", ALONE)
    results = job.run(spec, folder, ALONE, Reporter())
    assert results.scores[0].access == "weights"
    assert results.scores[0].parameters == sum(part.parameters for part in explain_model(spec).parts)
    again = job.evaluate_run(folder, "test", ALONE, Reporter())
    (own,) = again
    assert again[own].metrics == pytest.approx(results.scores[0].test[0])
    run, weights = Run.load(tmp_path / "run"), zoo.weights(slice(0, 4))
    found = run.predict(weights)
    export_model(run, tmp_path / "model.pt2", batch=4)
    program = torch.export.load(tmp_path / "model.pt2").module()
    keys = {f"{2 * k}.{what}": f"{what[0].upper() if what == 'weight' else 'b'}{k + 1}" for k in range(3)
            for what in ("weight", "bias")}  # fmt: skip
    said = program({key: weights[name] for key, name in keys.items()})
    if returned == "networks":
        assert found.networks is not None
        assert set(said) == set(keys)
    else:
        torch.testing.assert_close(said.flatten(), torch.tensor(found.columns["size"]), atol=1e-5, rtol=1e-4)


def test_kinds_match_a_model_and_what_does_not_is_said(tmp_path: Path) -> None:
    zoo = _zoo(tmp_path / "zoo")
    compare = ", ".join(f"{{name: {name}, model: {KINDS[name]}, match_parameters: true}}" for name in KINDS)
    spec = _spec(zoo, "{kind: dwsnet, layers: 2, channels: 16}", f"compare=[{compare}]")
    assert not list(unmatched(spec, zoo.graphs))
    small = _spec(zoo, "{kind: mlp, layers: 1, width: 1}", f"compare=[{compare}]")
    told = [line.split(" learns ")[0] for line in unmatched(small, zoo.graphs)]
    assert "transformer" in told
    line = next(line for line in unmatched(small, zoo.graphs) if line.startswith("transformer"))
    own = small.model.parameters(zoo.graph, small.head)
    assert line.endswith(f"numbers at `width: 2`, which is as near as it comes to the {own:,} of mlp")
    heard = Heard()
    one = "compare=[{name: big, model: {kind: transformer, layers: 1}, match_parameters: true}]"
    tiny = _spec(zoo, "{kind: mlp, layers: 1, width: 1}", one)
    job.run(tiny, job.choose_folder(tiny, tmp_path / "run", ALONE), ALONE, heard)
    assert [line for line in heard.lines if line.startswith("big learns ")] == list(unmatched(tiny, zoo.graphs))


def test_networks_of_several_architectures_are_refused(tmp_path: Path) -> None:
    zoo = mixed.make(tmp_path / "zoo")
    for name in ("rows", "transformer", "gnn"):
        with pytest.raises(
            SpecError, match=rf"the networks have 3 architectures, and a model of the kind '{name}' reads one"
        ):
            _spec(zoo, KINDS[name])
