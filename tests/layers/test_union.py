"""Networks of different graphs in one batch answer as each does alone, in values and in gradients."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from graphws.graph import NetworkGraph, Weights
from graphws.layers import Features
from graphws.layers.union.arrange import arrange
from graphws.layers.union.blocks import Blocks
from graphws.layers.union.features import UnionFeatures
from graphws.layers.union.segments import Places, Segments, assemble
from graphws.messages import FAMILIES
from graphws.models import DWSNet
from graphws.operations import mlp_graph
from graphws.pooling import POOLINGS, learned_pooling
from graphws.testing import check_equivariance, random_weights
from tests.layers.cases import convolution, cube, head_pairs, heads, nest, pinned_heads, residual
from tests.layers.dense import perturb


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def with_roles(graph: NetworkGraph) -> NetworkGraph:
    """The graph with roles that do not tell sizes: of a space and a parameter its name."""
    return NetworkGraph(
        tuple(replace(space, role=space.name) for space in graph.spaces),
        tuple(replace(parameter, role=parameter.name) for parameter in graph.parameters),
    )


def wider(graph: NetworkGraph, **sizes: int) -> NetworkGraph:
    for name, size in sizes.items():
        graph = graph.replace_space(replace(graph.space(name), size=size))
    return graph


FAMILIES_OF_GRAPHS = {
    "mlps": [mlp_graph([2, *hidden, 3]) for hidden in ([4], [3, 5], [4, 1, 4], [2, 3, 4, 5])],
    "convolutions": [convolution(), wider(convolution(), c1=4, c2=1)],
    "residual": [residual(4), residual(2), residual(5)],
    "cube": [cube(3), cube(2), cube(4)],
    "heads": [heads(3, 2), heads(2, 3), wider(heads(2, 2), d=4)],
    "head pairs": [head_pairs(), wider(head_pairs(), h=3), wider(head_pairs(), k=3)],
    "pinned heads": [pinned_heads(), wider(pinned_heads(), h=2)],
    "nest": [nest(), wider(nest(), k=3), wider(nest(), g=3, h=1)],
}
MIXED = {name: [with_roles(g) if name != "mlps" else g for g in graphs] for name, graphs in FAMILIES_OF_GRAPHS.items()}


def answers(model: DWSNet, batches: list[Weights], together: bool) -> list[Tensor]:
    found = model(batches) if together else [model([batch]) for batch in batches]
    if isinstance(found, Tensor):
        return [found]
    return [torch.cat(found)] if isinstance(found[0], Tensor) else [x.flatten() for x in _flat(found)]  # type: ignore[arg-type]


def _flat(found: object) -> list[Weights]:
    return [x for each in found for x in (each if isinstance(each, list) else [each])]  # type: ignore[attr-defined]


@pytest.mark.parametrize("outputs", [3, None])
@pytest.mark.parametrize("pool", POOLINGS)
@pytest.mark.parametrize("name", MIXED)
def test_together_as_alone(name: str, pool: str, outputs: int | None) -> None:
    graphs = MIXED[name]
    heads_of = 2 if learned_pooling(pool) else 1
    model = DWSNet(graphs, outputs, layers=3, channels=4, pooling=pool, share="role", heads=heads_of).double()
    perturb(model, rng(1))
    batches = [random_weights(graph, 2 + k % 2, rng(k)) for k, graph in enumerate(graphs)]
    model(batches)  # running statistics
    model.eval()
    results = []
    for together in (True, False):
        model.zero_grad()
        found = answers(model, batches, together)
        sum((x * torch.cos(torch.arange(x.numel()).view_as(x))).sum() for x in found).backward()  # type: ignore[union-attr]
        results.append((found, {n: p.grad for n, p in model.named_parameters() if p.grad is not None}))
    (one, slopes), (other, wanted) = results
    for a, b in zip(one, other, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)
    assert slopes.keys() == wanted.keys()
    for key in wanted:
        torch.testing.assert_close(slopes[key], wanted[key], rtol=1e-8, atol=1e-8)


OPTIONS: dict[str, dict[str, object]] = {
    "layer norm": {"norm": "layer"},
    "no norm": {"norm": "none"},
    "residual": {"residual": True, "layers": 4},
    "no bias": {"bias": False},
    "one layer": {"layers": 1},
    "gelu": {"activation": "gelu"},
    "reduced": {"reduce": {"input": 1}},
    "no bias to bias": {"blocks": {"bias_to_bias": "none"}},
    "weights only": {"blocks": dict.fromkeys(FAMILIES[1:], "none")},
}


@pytest.mark.parametrize("name", OPTIONS)
def test_options(name: str) -> None:
    graphs = MIXED["mlps"]
    settings: dict[str, object] = {"layers": 3, "channels": 4, "share": "role", **OPTIONS[name]}
    model = DWSNet(graphs, 3, **settings).double()  # type: ignore[arg-type]
    perturb(model, rng(1))
    batches = [random_weights(graph, 2, rng(k)) for k, graph in enumerate(graphs)]
    model(batches)
    for training in (True, False):
        check_equivariance(model.train(training), graphs, rng(), draws=1)
    torch.testing.assert_close(answers(model, batches, True)[0], answers(model, batches, False)[0])


def test_statistics_of_a_training_batch_are_those_of_all_its_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    """However the graphs are arranged: one union, several, alone."""
    graphs = MIXED["mlps"]
    torch.manual_seed(0)
    model = DWSNet(graphs, 3, layers=3, channels=4, share="role").double()
    batches = [random_weights(graph, 3, rng(k)) for k, graph in enumerate(graphs)]
    start = {name: x.clone() for name, x in model.state_dict().items()}
    found = []
    for groups in ([[0, 1, 2, 3]], [[2], [0, 3], [1]], [[3], [1], [0], [2]]):
        model.load_state_dict(start)
        model.zero_grad()
        monkeypatch.setattr("graphws.models.dwsnet.arrange", lambda states, chosen=groups: chosen)
        answer = model(batches)
        assert isinstance(answer, Tensor)
        answer.square().sum().backward()
        slopes = [p.grad.clone() for p in model.parameters() if p.grad is not None]
        found.append((answer.detach(), slopes, list(model.buffers())))
    for answer, slopes, buffers in found[1:]:
        torch.testing.assert_close(answer, found[0][0])
        torch.testing.assert_close(slopes, found[0][1], rtol=1e-7, atol=1e-9)
        torch.testing.assert_close(buffers, found[0][2])


def test_a_mixed_batch_that_is_taken_apart_and_joined_is_the_same() -> None:
    states = [Features.from_weights(random_weights(graph, 2, rng(k))) for k, graph in enumerate(MIXED["head pairs"])]
    back = UnionFeatures.join(states).split()
    for before, after in zip(states, back, strict=True):
        assert before.tensors.keys() == after.tensors.keys()
        for name, tensor in before.tensors.items():
            assert torch.equal(after[name], tensor)


def test_graphs_with_many_networks_run_alone_and_unions_are_bounded() -> None:
    small, large = mlp_graph([2, 8, 8, 1]), mlp_graph([2, 40, 40, 1])
    states = [Features.from_weights(random_weights(small, 2, rng())) for _ in range(3)]
    states.insert(1, Features.from_weights(random_weights(large, 64, rng())))
    assert arrange(states) == [[1], [0, 2, 3]]
    middling = [Features.from_weights(random_weights(large, 13, rng())) for _ in range(9)]
    groups = arrange(middling)
    assert sorted(position for group in groups for position in group) == list(range(9))
    assert [len(group) for group in groups] == [4, 4, 1]


class TestSegments:
    """Against a loop."""

    sizes = torch.tensor([[2, 3], [1, 4], [3, 1]])
    rows = torch.randn(13, 5, dtype=torch.float64, generator=rng())

    def columns(self) -> tuple[Segments, list[list[int]]]:
        blocks = Blocks(self.sizes)
        start = torch.tensor([0, 3, 7])
        ids = start[blocks.block] + blocks.digits[1]
        groups = [[k for k in range(13) if int(ids[k]) == s] for s in range(8)]
        order = torch.tensor([k for group in groups for k in group])
        return Segments(ids, order, torch.tensor([len(group) for group in groups])), groups

    def test_every_summary(self) -> None:
        segments, groups = self.columns()
        for name, reference in (
            ("sum", lambda x: x.sum(0)),
            ("mean", lambda x: x.mean(0)),
            ("max", lambda x: x.amax(0)),
        ):
            found = getattr(segments, name)(self.rows)
            torch.testing.assert_close(found, torch.stack([reference(self.rows[group]) for group in groups]))

    @pytest.mark.parametrize("name", ["sum", "mean", "max", "spread"])
    def test_gradients(self, name: str) -> None:
        segments, _ = self.columns()
        start = (self.rows[:8] if name == "spread" else self.rows).clone().requires_grad_()
        assert torch.autograd.gradcheck(getattr(segments, name), (start,))

    def test_ties_share_the_gradient(self) -> None:
        segments = Segments(torch.tensor([0, 0, 0, 1]), None, torch.tensor([3, 1]))
        rows = torch.tensor([[2.0], [2.0], [1.0], [5.0]], dtype=torch.float64, requires_grad=True)
        segments.max(rows).sum().backward()
        assert rows.grad is not None
        assert rows.grad.flatten().tolist() == [0.5, 0.5, 0.0, 1.0]

    def test_other_types_scatter_to_the_same(self) -> None:
        segments, _ = self.columns()
        for name in ("sum", "mean", "max"):
            half = getattr(segments, name)(self.rows.bfloat16()).double()
            torch.testing.assert_close(half, getattr(segments, name)(self.rows), rtol=0.05, atol=0.05)

    def test_what_is_not_a_number_stays_one(self) -> None:
        segments, groups = self.columns()
        rows = self.rows.clone()
        rows[4, 2] = float("nan")
        hit = next(k for k, group in enumerate(groups) if 4 in group)
        for name in ("sum", "mean", "max"):
            found = getattr(segments, name)(rows)
            assert bool(found[hit, 2].isnan()), name
            assert int(found.isnan().sum()) == 1, name

    def test_assembling(self) -> None:
        segments, _ = self.columns()
        parts = self.rows[:8].clone().requires_grad_()
        base = self.rows.clone().requires_grad_()
        found = assemble(base, [(segments, parts), (segments, 2 * parts)])
        torch.testing.assert_close(found, base + 3 * segments.spread(parts))
        assert torch.autograd.gradcheck(lambda b, p: assemble(b, [(segments, p)]), (base, parts))


@pytest.mark.parametrize(
    "index", [[2, 0, 3, 1], [2, -1, 0], [1, 1, 3, -1, 0, 1], [0, 1, 2, 3, 3]], ids=["all", "some", "often", "last"]
)
def test_places(index: list[int]) -> None:
    rows = torch.randn(4, 3, dtype=torch.float64, generator=rng(), requires_grad=True)
    places = Places(torch.tensor(index), 4)
    wanted = torch.stack([rows[k] if k >= 0 else torch.zeros(3, dtype=torch.float64) for k in index])
    torch.testing.assert_close(places.take(rows), wanted)
    assert torch.autograd.gradcheck(places.take, (rows,))


def test_blocks() -> None:
    blocks = Blocks(torch.tensor([[2, 3], [1, 2]]))
    assert blocks.block.tolist() == [0] * 6 + [1] * 2
    assert [digit.tolist() for digit in blocks.digits] == [[0, 0, 0, 1, 1, 1, 0, 0], [0, 1, 2, 0, 1, 2, 0, 1]]
    assert blocks.places(blocks.block, blocks.digits, blocks.strides).tolist() == list(range(8))
    assert Blocks(torch.zeros(3, 0, dtype=torch.int64)).total == 3
