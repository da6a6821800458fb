"""From a zoo on disk to batches: targets, gauge, augmentation, normalisation, in memory or through a memory map."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from graphws.errors import DataError, WeightsError
from graphws.graph import Weights
from graphws.operations import forward
from graphws.operations.canonical_gauge import canonical_gauge
from graphws.reporter import Reporter
from graphws.runtime.batches import Changed, Held, Mapped, batches
from graphws.runtime.contenders import Terms, contenders
from graphws.runtime.data import Data, load_data
from graphws.runtime.environment import Processes
from graphws.runtime.job import task_of
from graphws.runtime.preparation import Preparations
from graphws.runtime.zoo_fit import fit_section
from graphws.spec import Spec, parse_spec
from graphws.tasks import Classification, Denoising
from graphws.zoo import Zoo
from tests.runtime import standin

TEXT = """\
graphws: 1
zoo:
  source: {kind: digits, limit: 60}
  network: {hidden: [5, 5], omega: 5.0}
  fit: {steps: 5, lr: 2e-2, psnr: null}
  split: {validation: 0.2, test: 0.2}
input: {kind: zoo}
model: {kind: dwsnet, layers: 2, channels: 4}
head: {kind: invariant, outputs: 10}
task: {kind: classification}
train: {batch_size: 8, optimizer: {lr: 1e-2}}
"""


def _spec(*overrides: str) -> Spec:
    return parse_spec(TEXT, overrides=overrides)


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Zoo:
    folder = tmp_path_factory.mktemp("zoos") / "digits"
    section = _spec(f"zoo.path={folder}").zoo
    assert section is not None
    return fit_section(section, Processes(), Reporter())


def test_a_zoos_name_depends_on_what_it_holds_and_on_nothing_else() -> None:
    names = [
        section.folder()
        for overrides in ((), ("zoo.fit.group=7",), ("name=other",), ("zoo.fit.seed=1",), ("zoo.source.limit=61",))
        if (section := _spec(*overrides).zoo) is not None
    ]
    assert names[0] == names[1] == names[2]
    assert len({*names}) == 3
    assert names[0].parts[0] == "zoos"


def test_targets_are_the_table_s(zoo: Zoo) -> None:
    classes = load_data(zoo, ("label",), whole_numbers=True)
    assert classes.targets.tolist() == zoo.table["label"].tolist()
    numbers = load_data(zoo, ("psnr", "label"), whole_numbers=False)
    assert numbers.targets.shape == (60, 2)
    assert load_data(zoo, (), whole_numbers=False).targets.shape == (60, 0)
    assert {name: len(members) for name, members in classes.members.items()} == {
        "train": 36,
        "validation": 12,
        "test": 12,
    }


def test_columns_that_cannot_be_targets(zoo: Zoo) -> None:
    where = f"the zoo {zoo.path}"
    with pytest.raises(DataError) as caught:
        load_data(zoo, ("lable",), whole_numbers=True)
    assert str(caught.value) == f"{where} has no column 'lable'; did you mean 'label'?"
    with pytest.raises(DataError) as caught:
        load_data(zoo, ("psnr",), whole_numbers=True)
    assert str(caught.value) == (
        f"{where}: the column 'psnr' holds float64; the task needs whole numbers or names, one for each class"
    )
    with pytest.raises(DataError) as caught:
        load_data(zoo, ("split",), whole_numbers=False)
    assert str(caught.value) == f"{where}: the column 'split' holds object; the task needs numbers"


def test_networks_with_nan_are_named(zoo: Zoo, tmp_path: Path) -> None:
    copy = tmp_path / "zoo"
    shutil.copytree(zoo.path, copy)
    shard = copy / "weights-00000.safetensors"
    tensors = load_file(shard)
    tensors["b1"][7, 2] = float("nan")
    save_file(tensors, shard)
    with pytest.raises(WeightsError) as caught:
        load_data(Zoo.open(copy), ("label",), whole_numbers=True)
    assert str(caught.value) == (
        f"the zoo {copy}: parameter 'b1' of network 7 holds 1 NaN or inf; fit or pack it again"
    )


@pytest.mark.parametrize("gauge", ["none", "canonical"])
def test_a_memory_mapped_zoo_gives_the_batches_of_one_in_memory(zoo: Zoo, gauge: str) -> None:
    spec = _spec(f"preprocess.gauge={gauge}")
    found = []
    for limit, kind in ((1 << 30, Held), (0, Mapped if gauge == "none" else Changed)):
        prepared = Preparations(load_data(zoo, ("label",), True, limit=limit), zoo).of(spec)
        assert isinstance(prepared.data.collection, kind)
        batch = next(iter(batches(prepared.data.split("train"), 16, Processes(), seed=1)))
        found.append(prepared.scale(spec.model).apply(batch.weights).flatten())
    torch.testing.assert_close(found[0], found[1])


def test_workers_deal_the_batches_of_the_training_process(zoo: Zoo) -> None:
    split = load_data(zoo, ("label",), True, limit=0).split("train")
    alone, helped = (list(batches(split, 10, Processes(), 3, workers)) for workers in (0, 1))
    for one, two in zip(alone, helped, strict=True):
        torch.testing.assert_close(one.weights.flatten(), two.weights.flatten())
        assert one.index.tolist() == two.index.tolist()


def test_normalised_orbits_have_mean_0_and_deviation_1_over_the_training_split(zoo: Zoo) -> None:
    prepared = Preparations(load_data(zoo, ("label",), True), zoo).of(_spec("preprocess.gauge=canonical"))
    scale = prepared.scale(_spec().model)
    normal = scale.apply(prepared.data.collection.weights(prepared.data.members["train"]))
    assert float(normal["W2"].mean()) == pytest.approx(0, abs=1e-5)
    assert float(normal["W2"].std(unbiased=False)) == pytest.approx(1, abs=1e-4)
    assert bool((scale.deviation(zoo.graph) == 1).all())


def test_the_gauge_is_fixed_and_stays_fixed_when_pictures_move(zoo: Zoo) -> None:
    overrides = ("preprocess.gauge=canonical", "augment.rotation=30", "augment.translation=0.3", "augment.scaling=0.2")
    prepared = Preparations(load_data(zoo, ("label",), True), zoo).of(_spec(*overrides))
    stored = prepared.data.collection.weights(torch.arange(8))
    assert bool((stored["b1"] >= 0).all())
    torch.testing.assert_close(stored.flatten(), canonical_gauge(zoo.weights(torch.arange(8))).flatten())
    assert prepared.augment is not None
    moved = prepared.augment(stored, torch.Generator().manual_seed(0))
    assert bool((moved["b1"] >= 0).all())
    points = torch.rand(20, 2) * 2 - 1
    assert (forward(zoo.graph, moved, points) - forward(zoo.graph, stored, points)).abs().max() > 1e-3


def test_noise_is_measured_by_the_orbits_and_repeats_with_the_generator(zoo: Zoo) -> None:
    prepared = Preparations(load_data(zoo, ("label",), True), zoo).of(_spec("augment.noise=0.5"))
    assert prepared.augment is not None
    weights = prepared.data.collection.weights(torch.arange(60))
    noisy = [prepared.augment(weights, torch.Generator().manual_seed(4)) for _ in range(2)]
    torch.testing.assert_close(noisy[0].flatten(), noisy[1].flatten())
    spread = zoo.statistics.spread(zoo.graph, "W2", weights["W2"])[1]
    assert float(((noisy[0]["W2"] - weights["W2"]) / spread).std()) == pytest.approx(0.5, rel=0.1)


def test_without_augmentation_there_is_none(zoo: Zoo) -> None:
    assert Preparations(load_data(zoo, ("label",), True), zoo).of(_spec()).augment is None


def test_the_noise_of_a_denoising_task_is_the_tasks(zoo: Zoo) -> None:
    spec = _spec("augment.noise=0.5", "task={kind: weights}", "head={kind: equivariant}")
    data = load_data(zoo, (), False)
    prepared = Preparations(data, zoo).of(spec)
    assert prepared.augment is None
    task = task_of(spec, data, prepared.scale(spec.model))
    assert isinstance(task, Denoising)
    assert task.noise == 0.5


def test_models_of_a_spec_and_its_baselines(zoo: Zoo) -> None:
    overrides = (
        "compare=[{name: flat, model: {kind: mlp, layers: 2, group_augment: true}, match_parameters: true},"
        " {name: dwsnet, model: {kind: dwsnet, layers: 2, channels: 2}, train: {epochs: 3}}]",
    )
    spec = _spec(*overrides)
    data = load_data(zoo, ("label",), True)
    prepared = Preparations(data, zoo).of(spec)
    terms = Terms(prepared.data, None, prepared.scale, lambda section: Classification(2))
    own, flat, small = contenders(spec, zoo.graphs, lambda name, each: terms)
    assert [own.name, flat.name, small.name] == ["run", "flat", "dwsnet"]
    assert isinstance(task_of(spec, data, prepared.scale(spec.model)), Classification)
    sizes = [sum(p.numel() for p in each.build().parameters()) for each in (own, flat, small)]
    assert sizes[1] == pytest.approx(sizes[0], rel=0.05)
    assert sizes[2] < sizes[0]
    assert (small.train.epochs, small.train.batch_size) == (3, 8)
    assert own.augment is None
    assert flat.augment is not None
    weights = data.collection.weights(torch.arange(6))
    relabelled = flat.augment(weights, torch.Generator().manual_seed(1))
    points = torch.rand(9, 2)
    assert not torch.equal(relabelled.flatten(), weights.flatten())
    torch.testing.assert_close(forward(zoo.graph, relabelled, points), forward(zoo.graph, weights, points))


def test_data_keep_the_graph_of_their_source(zoo: Zoo) -> None:
    data = load_data(zoo, ("label",), True)
    assert isinstance(data, Data)
    assert data.graph == zoo.graph
    assert isinstance(data.split("test").collection.weights(torch.tensor([0])), Weights)


def test_data_without_a_split_or_with_nan_targets_are_refused() -> None:
    found = standin.data()
    with pytest.raises(DataError) as caught:
        Data(found.collection, found.targets, {**found.members, "test": torch.arange(0)}, "zoo z")
    assert str(caught.value) == "zoo z has no networks in the test split; change zoo.split"
    targets = found.targets.float()
    targets[4] = float("nan")
    with pytest.raises(DataError) as caught:
        Data(found.collection, targets, found.members, "zoo z")
    assert str(caught.value) == "zoo z: the target of network 4 is NaN or infinite"
