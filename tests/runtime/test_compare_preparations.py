"""Models of one run, each with a preparation of its own: gauge, order, augmentation."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch

from graphws.errors import DataError, RunError, UsageError
from graphws.graph import Weights
from graphws.operations import forward
from graphws.operations.canonical_gauge import canonical_gauge
from graphws.reporter import Reporter
from graphws.runtime import job
from graphws.runtime.alignment import Aligner
from graphws.runtime.batches import Held, Moved
from graphws.runtime.data import Data, load_data
from graphws.runtime.environment import Processes
from graphws.runtime.exporting import export_model
from graphws.runtime.folder import RunFolder
from graphws.runtime.named_models import named_specs
from graphws.runtime.prediction import Run
from graphws.runtime.preparation import Preparations
from graphws.runtime.zoo_fit import fit_section
from graphws.spec import Spec, parse_spec
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
augment: {rotation: 20, noise: 0.1}
model: {kind: dwsnet, layers: 2, channels: 4}
head: {kind: invariant, outputs: 10}
task: {kind: classification}
train: {batch_size: 16, epochs: 2, optimizer: {lr: 1e-2}}
compare:
  - {name: still, model: {kind: dwsnet, layers: 2, channels: 4}, augment: {rotation: 0, noise: 0}}
  - {name: fixed, model: {kind: mlp, layers: 1, width: 8}, preprocess: {gauge: canonical}}
  - {name: aligned, model: {kind: mlp, layers: 1, width: 8}, preprocess: {align: {networks: 20, iterations: 3}}}
  - {name: both, model: {kind: mlp, layers: 1, width: 8},
     preprocess: {gauge: canonical, align: {networks: 20, iterations: 3}}}
"""
ALONE = Processes()
NAMES = ["dwsnet", "still", "fixed", "aligned", "both"]


class Heard(Reporter):
    """Remembers what was begun."""

    def __init__(self) -> None:
        self.titles: list[str] = []
        self.notes: list[str] = []
        self.rates: list[Mapping[str, float]] = []

    def note(self, text: str) -> None:
        """A line."""
        self.notes.append(text)

    def start(self, title: str, total: int, unit: str) -> None:
        """A piece of work."""
        self.titles.append(title)

    def step(self, done: int, values: Mapping[str, float]) -> None:
        """Its progress."""
        self.rates.append(values)


def _spec(*overrides: str) -> Spec:
    return parse_spec(TEXT, overrides=overrides)


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Zoo:
    section = _spec(f"zoo.path={tmp_path_factory.mktemp('zoos') / 'digits'}").zoo
    assert section is not None
    return fit_section(section, ALONE, Reporter())


@pytest.fixture(scope="module")
def finished(zoo: Zoo, tmp_path_factory: pytest.TempPathFactory) -> tuple[RunFolder, Heard]:
    folder, heard = RunFolder(tmp_path_factory.mktemp("runs") / "run"), Heard()
    job.run(_spec(f"input.path={zoo.path}"), folder, ALONE, heard)
    return folder, heard


def test_each_model_has_its_sections() -> None:
    specs = named_specs(_spec())
    assert list(specs) == NAMES
    assert [each.augment.rotation for each in specs.values()] == [20, 0, 20, 20, 20]
    assert [each.preprocess.gauge for each in specs.values()] == ["none", "none", "canonical", "none", "canonical"]
    assert specs["still"].augment.dropout == 0.0
    assert not any(each.compare for each in specs.values())


def test_networks_of_one_gauge_and_order_are_held_once(zoo: Zoo) -> None:
    stored = load_data(zoo, ("label",), True)
    making = Preparations(stored, zoo)
    found = {name: making.of(each) for name, each in named_specs(_spec()).items()}
    assert found["dwsnet"].data is found["still"].data
    assert found["dwsnet"].data.collection is stored.collection
    assert found["dwsnet"].augment is not None
    assert found["still"].augment is None
    raw, index = zoo.weights(), torch.arange(len(zoo))
    fixed = found["fixed"].data.collection.weights(index)
    torch.testing.assert_close(fixed.flatten(), canonical_gauge(raw).flatten())
    for name, before in (("aligned", raw), ("both", fixed)):
        after = found[name].data.collection.weights(index)
        torch.testing.assert_close(after["b1"].sort(1).values, before["b1"].sort(1).values)
        assert not torch.equal(after["b1"], before["b1"])
        x = torch.rand(9, 2)
        torch.testing.assert_close(forward(zoo.graph, after, x), forward(zoo.graph, raw, x), atol=1e-5, rtol=1e-4)
        means = found[name].statistics.orbits[0]["b1"].mean
        torch.testing.assert_close(means, before["b1"][stored.members["train"]].double().mean().reshape(1))
    assert float(found["fixed"].statistics.orbits[0]["b1"].mean) != float(
        found["dwsnet"].statistics.orbits[0]["b1"].mean
    )


def test_a_memory_mapped_zoo_is_aligned_once_too(zoo: Zoo, tmp_path: Path) -> None:
    spec = named_specs(_spec())["both"]
    found = []
    for limit, kind in ((1 << 30, Held), (0, Moved)):
        heard = Heard()
        data = load_data(zoo, ("label",), True, limit=limit)
        prepared = Preparations(data, zoo, Aligner(tmp_path, ALONE, heard)).of(spec)
        assert isinstance(prepared.data.collection, kind)
        assert heard.titles == (["alignment, reference", "alignment"] if limit else [])
        found.append(prepared.data.collection.weights(torch.arange(60)))
    assert torch.equal(found[0].flatten(), found[1].flatten())


def test_what_was_kept_is_used_and_what_is_damaged_is_made_again(zoo: Zoo, tmp_path: Path) -> None:
    spec, data = named_specs(_spec())["aligned"], load_data(zoo, ("label",), True)
    first = Preparations(data, zoo, Aligner(tmp_path)).of(spec)
    (path,) = tmp_path.iterdir()
    content = path.read_bytes()
    for damage in (content[:-1] + bytes([content[-1] ^ 1]), content[:100], b"nothing"):
        path.write_bytes(damage)
        heard = Heard()
        again = Preparations(data, zoo, Aligner(tmp_path, ALONE, heard)).of(spec)
        assert "alignment" in heard.titles
        assert heard.notes[0].startswith(f"{path} is damaged: ")
        assert heard.notes[0].endswith(": the networks are aligned again")
        index = torch.arange(60)
        one, other = (each.data.collection.weights(index).flatten() for each in (first, again))
        assert torch.equal(one, other)
    assert all(rate["networks_per_second"] > 0 for rate in heard.rates)


def test_other_processes_read_what_the_first_one_found(zoo: Zoo, tmp_path: Path) -> None:
    spec, data = named_specs(_spec())["both"], load_data(zoo, ("label",), True)
    found = []
    for rank in range(2):
        heard = Heard()
        found.append(Preparations(data, zoo, Aligner(tmp_path, Processes(rank, 2, 2), heard)).of(spec))
        assert heard.titles == ([] if rank else ["alignment, reference", "alignment"])
    index = torch.arange(60)
    one, other = (each.data.collection.weights(index).flatten() for each in found)
    assert torch.equal(one, other)


def test_a_run_says_how_it_aligned(finished: tuple[RunFolder, Heard]) -> None:
    folder, heard = finished
    page = folder.report.read_text()
    assert "alignment, aligned" in page
    assert "alignment, both" in page
    assert "mean closeness of pairs" in page
    assert folder.figure("augmentation").exists()
    assert heard.titles.count("alignment") == 2
    results = job.Results.from_json(json.loads((folder.path / "results.json").read_text()))
    assert [score.name for score in results.scores] == NAMES


def test_kept_models_answer_as_they_were_scored(finished: tuple[RunFolder, Heard], zoo: Zoo) -> None:
    """By the run's own zoo, by the same zoo as another one, and asked about networks as files are."""
    folder, _ = finished
    results = job.Results.from_json(json.loads((folder.path / "results.json").read_text()))
    heard = Heard()
    own = job.evaluate_run(folder, "test", ALONE, heard)
    other = job.evaluate_run(folder, "test", ALONE, heard, zoo.path)
    assert heard.titles == []  # nothing is aligned again
    run = Run.load(folder.path)
    for score in results.scores:
        found = own[score.name]
        assert found.metrics == pytest.approx(score.test[score.chosen])
        assert other[score.name].metrics == pytest.approx(score.test[score.chosen], rel=1e-5)
        asked = run.predict(zoo.weights(found.index), score.name)
        assert asked.columns["class"] == found.predictions.tolist()


def test_an_aligned_model_cannot_tell_relabelled_networks(finished: tuple[RunFolder, Heard], zoo: Zoo) -> None:
    run, weights = Run.load(finished[0].path), zoo.weights(slice(0, 12))
    moved = zoo.graph.group().random(torch.Generator().manual_seed(5), batch=12).act(weights)
    for name in ("aligned", "both"):
        seen, again = run.prepare(weights, name), run.prepare(moved, name)
        torch.testing.assert_close(seen.flatten(), again.flatten())
        section, prepared = run.section(name), run.prepared_for(name)
        back = prepared.form.restore(prepared.scale(section).restore(seen), moved)
        torch.testing.assert_close(back.flatten(), moved.flatten(), atol=1e-5, rtol=1e-4)
    assert not torch.allclose(run.prepare(weights).flatten(), run.prepare(moved).flatten(), atol=1e-2)  # control


def test_runs_of_version_1_are_read(zoo: Zoo, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    spec = _spec(f"input.path={zoo.path}", "compare=[]", "preprocess.gauge=canonical", "train.epochs=1")
    job.run(spec, folder, ALONE, Reporter())
    before = Run.load(folder.path).predict(zoo.weights(slice(0, 5)), probabilities=True).columns
    as_version_1(folder.path)
    assert Run.load(folder.path).predict(zoo.weights(slice(0, 5)), probabilities=True).columns == before


def as_version_1(folder: Path) -> None:
    """What a run keeps, as older versions wrote it."""
    from safetensors.torch import load_file, save_file

    facts = json.loads((folder / "preparation.json").read_text())
    (form,) = facts.pop("forms")
    facts |= {"format": "graphws-preparation-1", "gauge": form["gauge"], "roles": form["roles"], "normalize": True}
    (folder / "preparation.json").write_text(json.dumps(facts))
    tensors = {name.removeprefix("0."): t for name, t in load_file(folder / "preparation.safetensors").items()}
    save_file(tensors, folder / "preparation.safetensors", {"format": "graphws-preparation-1"})
    state = json.loads((folder / "run.json").read_text())
    for name in ("preparation.json", "preparation.safetensors"):
        del state["files"][name]
    (folder / "run.json").write_text(json.dumps(state))


def test_what_a_run_keeps_must_be_of_its_spec(finished: tuple[RunFolder, Heard], tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(finished[0].path, folder)
    facts = json.loads((folder / "preparation.json").read_text())
    state = json.loads((folder / "run.json").read_text())
    del state["files"]["preparation.json"]
    (folder / "run.json").write_text(json.dumps(state))
    for number, change in ((2, {"align": "none"}), (0, {"gauge": "canonical"}), (1, {"models": ["dwsnet"]})):
        forms = [{**form, **(change if k == number else {})} for k, form in enumerate(facts["forms"])]
        assert forms != facts["forms"]
        (folder / "preparation.json").write_text(json.dumps({**facts, "forms": forms}))
        with pytest.raises(RunError, match=r"preparation.json or preparation.safetensors is damaged: "):
            Run.load(folder)


def test_an_aligned_model_is_not_exported(finished: tuple[RunFolder, Heard], tmp_path: Path) -> None:
    run = Run.load(finished[0].path)
    with pytest.raises(UsageError) as caught:
        export_model(run, tmp_path / "model.pt2", "aligned")
    assert str(caught.value) == (
        "this model sees networks aligned to a reference (preprocess.align), and no exported program can hold the "
        f"assignment problems of that; ask it with: graphws predict {finished[0].path} NETWORKS"
    )


def test_networks_that_cannot_be_aligned() -> None:
    data = standin.data()
    align = named_specs(_spec())["aligned"].preprocess.align
    assert align != "none"
    few = Data(data.collection, data.targets, {**data.members, "train": torch.tensor([3])}, data.origin)
    with pytest.raises(DataError) as caught:
        Aligner().align(few, align, "none")
    assert str(caught.value) == (
        "the stand-in zoo: preprocess.align: there is nothing to align: got 1 network, at least 2 are needed"
    )


def test_aligned_weights_act_on_their_own_device_and_type(zoo: Zoo) -> None:
    data = load_data(zoo, ("label",), True)
    found = Preparations(data, zoo).of(named_specs(_spec())["aligned"])
    weights = found.form.apply(zoo.weights(slice(0, 3)))
    assert weights.dtype == torch.float32
    assert isinstance(weights, Weights)
    torch.testing.assert_close(weights.flatten(), found.data.collection.weights(torch.arange(3)).flatten())
