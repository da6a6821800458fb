"""Zoos of networks of several graphs: what is drawn, prepared and trained on."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from graphws.errors import DataError, WeightsError, ZooError
from graphws.graph import Weights, change_each, parts_of
from graphws.operations import mlp_graph
from graphws.reporter import Reporter
from graphws.runtime import job
from graphws.runtime.batches import Batch, Changed, HeldMixed, Mapped, batches
from graphws.runtime.data import SPLITS, Data, load_data
from graphws.runtime.environment import Processes
from graphws.runtime.files import read_rows
from graphws.runtime.preparation import Preparations
from graphws.spec import Spec, parse_spec
from graphws.zoo import Zoo
from tests.processes import ROOT
from tests.runtime import mixed


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Zoo:
    return mixed.make(tmp_path_factory.mktemp("zoos") / "mixed")


def _spec(zoo: Zoo, *overrides: str) -> Spec:
    return parse_spec(mixed.TEXT.format(zoo=zoo.path), overrides=overrides)


def _rows(batch: Batch) -> list[torch.Tensor]:
    """The flat weights of each network, in the order of the batch."""
    return [row for part in parts_of(batch.weights) for row in part.flatten()]


@pytest.mark.parametrize("limit", [1 << 30, 0])
def test_networks_targets_and_index_come_in_one_order(zoo: Zoo, limit: int) -> None:
    data = load_data(zoo, ("size",), False, limit=limit)
    assert isinstance(data.collection, HeldMixed if limit else Mapped)
    assert data.graphs == zoo.graphs
    seen = []
    for batch in batches(data.split("train"), 7, Processes(), seed=3):
        assert isinstance(batch.weights, list)
        assert [part.graph for part in batch.weights] == [
            g for g in zoo.graphs if g in {w.graph for w in batch.weights}
        ]
        for row, number, target in zip(_rows(batch), batch.index.tolist(), batch.targets, strict=True):
            one, columns = zoo[number]
            assert torch.equal(row, one.flatten()[0])
            assert float(target) == pytest.approx(columns["size"])
        seen += batch.index.tolist()
    assert sorted(seen) == zoo.split("train").tolist()


def test_a_test_of_the_order_fails_where_targets_are_not_moved_along(zoo: Zoo) -> None:
    index = torch.arange(len(zoo)).flip(0)
    _, order = HeldMixed.of(
        [zoo.weights(np.flatnonzero(zoo.architecture == k)) for k in range(3)], torch.from_numpy(zoo.architecture)
    ).draw(index)
    assert not torch.equal(order, index)
    assert sorted(order.tolist()) == sorted(index.tolist())


def _drawn(loader: DataLoader[Batch]) -> list[tuple[list[int], list[torch.Tensor]]]:
    return [(batch.index.tolist(), _rows(batch)) for batch in loader]


def test_memory_and_map_and_worker_give_the_same_batches(zoo: Zoo) -> None:
    splits = [load_data(zoo, ("size",), False, limit=limit).split("train") for limit in (1 << 30, 0)]
    first = _drawn(batches(splits[0], 10, Processes(), 1))
    for other in (_drawn(batches(splits[1], 10, Processes(), 1)), _drawn(batches(splits[1], 10, Processes(), 1, 1))):
        for (index, rows), (other_index, other_rows) in zip(first, other, strict=True):
            assert index == other_index
            assert all(torch.equal(one, two) for one, two in zip(rows, other_rows, strict=True))


def test_two_processes_share_the_batches_of_one(zoo: Zoo) -> None:
    split = load_data(zoo, ("size",), False).split("train")
    whole = [sorted(batch.index.tolist()) for batch in batches(split, 9, Processes(), 5)]
    parts = [[batch.index.tolist() for batch in batches(split, 9, Processes(rank, 2, 2), 5)] for rank in (0, 1)]
    assert whole == [sorted(left + right) for left, right in zip(*parts, strict=True)]


@pytest.mark.parametrize("overrides", [(), ("preprocess.gauge=canonical",)])
def test_preparation_maps_over_the_graphs(zoo: Zoo, overrides: tuple[str, ...]) -> None:
    spec = _spec(zoo, "augment.noise=0.1", "augment.group=true", *overrides)
    found = []
    for limit in (1 << 30, 0):
        prepared = Preparations(load_data(zoo, ("size",), False, limit=limit), zoo).of(spec)
        assert isinstance(prepared.data.collection, HeldMixed if limit else Changed if overrides else Mapped)
        networks, _ = prepared.data.collection.draw(prepared.data.members["train"])
        augment = prepared.augment
        assert augment is not None
        moved = [augment(part, torch.Generator().manual_seed(0)) for part in parts_of(networks)]
        assert [part.graph for part in moved] == list(zoo.graphs)
        normal = parts_of(change_each(networks, prepared.scale(spec.model).apply))
        last = torch.cat([part[name].flatten() for part in normal for name in ("b1",)])
        assert last.isfinite().all()
        found.append([part.flatten() for part in normal])
    for one, two in zip(*found, strict=True):
        torch.testing.assert_close(one, two)


def test_one_graph_is_asked_for_where_there_are_several(zoo: Zoo) -> None:
    data = load_data(zoo, ("size",), False)
    for ask in (lambda: data.graph, lambda: data.collection.weights(torch.arange(len(zoo)))):
        with pytest.raises(DataError) as caught:
            ask()
        assert str(caught.value) == "the networks are of 3 architectures, and one is needed"


def test_a_bad_network_is_called_by_its_number(zoo: Zoo, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = int(np.flatnonzero(zoo.architecture == 2)[3])
    parts = Zoo.parts

    def spoilt(self: Zoo, index: torch.Tensor) -> list[tuple[torch.Tensor, Weights]]:
        found = parts(self, index)
        for positions, weights in found:
            weights["b1"][index[positions] == broken] = float("nan")
        return found

    monkeypatch.setattr(Zoo, "parts", spoilt)
    with pytest.raises(WeightsError) as caught:
        load_data(zoo, ("size",), False, limit=0)
    assert str(caught.value) == (
        f"the zoo {zoo.path}: parameter 'b1' of network {broken} holds 9 NaN or inf; fit or pack it again"
    )


def test_networks_cannot_be_the_answer(zoo: Zoo) -> None:
    spec = _spec(zoo, "augment.noise=0.5", "task={kind: weights}", "head={kind: equivariant}")
    with pytest.raises(DataError) as caught:
        job.task_of(spec, load_data(zoo, (), False), torch.ones(1))
    assert str(caught.value) == (
        f"the zoo {zoo.path}: a task that gives networks back reads networks of one architecture, and these are of 3"
    )


def test_signals_are_moved_only_where_networks_have_some(zoo: Zoo) -> None:
    Preparations(load_data(zoo, ("size",), False), zoo).of(_spec(zoo, "augment.rotation=10"))
    graph = mlp_graph([3, 4, 1])
    weights = Weights.unflatten(graph, torch.randn(9, graph.numel))
    members = {name: torch.arange(9) for name in SPLITS}
    data = Data(HeldMixed.of([weights], torch.zeros(9).long()), torch.zeros(9, 1), members, "a zoo")
    with pytest.raises(ZooError) as caught:
        Preparations(data, zoo).of(_spec(zoo, "augment.rotation=10"))
    assert str(caught.value) == (
        "augment.rotation changes the signal that a network draws, but rotation needs signals on a plane; "
        "these networks have 3 inputs"
    )


def test_classes_may_have_names(zoo: Zoo) -> None:
    data = load_data(zoo, ("group",), True)
    assert data.classes == ("large", "small")
    assert [data.classes[k] for k in data.targets.tolist()] == zoo.table["group"].tolist()
    with pytest.raises(DataError) as caught:
        load_data(zoo, ("group",), True, classes=("large", "tiny"))
    assert str(caught.value) == (f"the zoo {zoo.path}: the column 'group' holds 'small', which is none of the classes")


@pytest.mark.slow
def test_a_mixed_zoo_trains_the_same_from_memory_and_map(
    zoo: Zoo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = _spec(zoo)
    found = []
    for limit, name in ((1 << 30, "held"), (0, "mapped")):
        monkeypatch.setattr(load_data, "__defaults__", ("cpu", limit, None))
        folder = job.choose_folder(spec, tmp_path / name, Processes())
        results = job.run(spec, folder, Processes(), Reporter())
        assert results.metric.name == "kendall"
        assert set(results.scores[0].test[0]) == {"loss", "mse", "mae", "r2", "kendall"}
        assert "3: shallow (" in folder.report.read_text()
        found.append(results.scores[0].test[0])
    assert found[0] == pytest.approx(found[1], rel=1e-4)


@pytest.mark.slow
def test_two_processes_follow_the_loss_curve_of_one(zoo: Zoo, tmp_path: Path) -> None:
    spec = tmp_path / "mixed.yaml"
    spec.write_text(mixed.TEXT.format(zoo=zoo.path))
    curves = []
    for name, start in (("one", ["-m"]), ("two", ["-m", "torch.distributed.run", "--nproc-per-node", "2", "-m"])):
        command = [sys.executable, *start, "graphws", "train", str(spec), "--folder", str(tmp_path / name)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        curves.append(
            [row["train_loss"] for row in read_rows(next((tmp_path / name / "trials").iterdir()) / "metrics.csv")]
        )
    assert len(curves[0]) == 3
    assert curves[0] == pytest.approx(curves[1], rel=1e-5)
