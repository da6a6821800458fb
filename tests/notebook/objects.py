"""One of everything that a person gets in hand."""

from __future__ import annotations

from pathlib import Path

import torch

import graphws
from graphws.actions.automorphism import automorphisms
from graphws.actions.identifiability import identifiability
from graphws.actions.reduction import reduce
from graphws.align import compare, find_reference, merge_many
from graphws.checkpoints import Checkpoint, Hints
from graphws.layers import Features, Prologue, plan_by_name
from graphws.layers.explain import explain
from graphws.messages import expand_blocks
from graphws.operations import mlp_graph
from graphws.runtime import job
from graphws.runtime.environment import Processes
from graphws.runtime.folder import RunFolder
from graphws.runtime.model_explanation import explain_model
from graphws.spec import parse_spec
from graphws.testing import check_equivariance
from graphws.zoo import FitOptions, SplitOptions, load_digits
from tests.actions.planting import pictures
from tests.runtime import mixed

GRAPH = mlp_graph([6, 24, 24, 3], "relu")


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def networks(batch: int = 3) -> graphws.Weights:
    return graphws.Weights.unflatten(GRAPH, torch.randn(batch, GRAPH.numel, generator=rng(), dtype=torch.float64))


def module() -> torch.nn.Module:
    return torch.nn.Sequential(torch.nn.Linear(6, 24), torch.nn.ReLU(), torch.nn.Linear(24, 3))


def conversion() -> graphws.checkpoints.Conversion:
    return graphws.convert(module(), example_inputs=torch.randn(4, 6, generator=rng()))


def actions() -> graphws.actions.Actions:
    case = pictures(mlp_graph([16, 8, 8, 16], "gelu"), "mirror", (1, 4, 4))
    return graphws.find_actions(case.planted.weights, "mirror", (1, 4, 4), data=case.probes(40), decoys=2)


def redundant() -> graphws.Weights:
    weights = networks(1)
    weights["W2"][0, :, 5] = 0
    return weights


def run(folder: Path) -> tuple[graphws.Run, graphws.Zoo]:
    """A run of two epochs, and its zoo."""
    zoo = mixed.make(folder / "zoo")
    spec = parse_spec(mixed.TEXT.format(zoo=zoo.path), overrides=("train.epochs=2",))
    job.run(spec, job.choose_folder(spec, folder / "run", Processes()), Processes(), graphws.reporter.Reporter())
    return graphws.Run.load(folder / "run"), zoo


def quick() -> dict[str, object]:
    """What takes no training."""
    three, points = networks(), torch.randn(20, 6, generator=rng(1), dtype=torch.float64)
    first, second = three.select([0]), three.select([1])
    found, spec = actions(), graphws.load_spec("digits-inr")
    return {
        "graph": GRAPH,
        "group": GRAPH.group(),
        "rich element": GRAPH.group().random(rng(), batch=3, actions="rich"),
        "layout": GRAPH.layout("W2"),
        "weights": three,
        "features": Features.from_weights(three).awaiting(Prologue("relu")),
        "plan": plan_by_name(GRAPH, expand_blocks()),
        "layer": explain(GRAPH),
        "model": explain_model(parse_spec(MODEL)),
        "conversion": conversion(),
        "hints": Hints(example_inputs=torch.zeros(4, 6)),
        "checkpoint": Checkpoint({f"layers.{k}.weight": torch.zeros(30, 30) for k in range(40)}),
        "verification": graphws.verify(GRAPH, first, points, generator=rng()),
        "actions": found,
        "reduction": reduce(redundant()),
        "identifiability": identifiability(first),
        "automorphisms": automorphisms(redundant()),
        "comparison": compare(first, second, inputs=points, generator=rng()),
        "merging": merge_many(three, generator=rng(), inputs=points),
        "reference": find_reference(three, generator=rng()),
        "equivariance": check_equivariance(
            graphws.DWSNet(GRAPH, outputs=2, layers=1, channels=2).double(), GRAPH, rng()
        ),
        "spec": spec,
        "samples": load_digits(),
        "options": (FitOptions(), SplitOptions()),
        "folder": RunFolder(Path("run")),
    }


MODEL = """
graphws: 1
input: {kind: mlp, widths: [2, 16, 16, 1]}
model: {kind: dwsnet, layers: 2, channels: 8}
head: {kind: invariant, outputs: 10}
"""
