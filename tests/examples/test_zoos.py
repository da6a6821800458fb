"""The scripts that train zoos of real networks, at toy scale: their files, their labels, and that networks learn."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch
from safetensors.torch import load_file

from graphws.checkpoints.network_file import load_network
from graphws.graph import Weights
from tests.scripts import load_script

FOLDER = Path(__file__).parents[2] / "examples" / "zoos"


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    """The scripts use one thread; others go on with theirs."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> ModuleType:
    monkeypatch.setattr(sys, "path", [str(FOLDER), *sys.path])
    for name in ("ensembles", "toy_transformer"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return load_script(FOLDER / f"{request.param}.py")


def labels(folder: Path) -> list[dict[str, str]]:
    with open(folder / "labels.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize(("script", "length"), [("cnns", 3), ("transformers", 2)], indirect=["script"])
def test_a_zoo_of_checkpoints(
    script: ModuleType, length: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(script, "ARCHITECTURES", script.ARCHITECTURES[:: len(script.ARCHITECTURES) - 1])
    monkeypatch.setattr(script, "recipe", lambda generator: script.Recipe(1e-2, 1e-3, 5, 0.5))
    for name in ("a", "b"):
        script.main(tmp_path / name, number=length, seed=3)
    rows = labels(tmp_path / "a")
    assert [row["file"] for row in rows] == sorted(p.name for p in (tmp_path / "a").glob("*.safetensors"))
    assert len(rows) == length
    assert all(0 <= float(row["test_accuracy"]) <= 1 for row in rows)
    assert {row["split"] for row in rows} <= {"train", "validation", "test"}
    assert rows == labels(tmp_path / "b")  # the same seed, the same zoo
    like = [load_network(path) for path in sorted((tmp_path / "a" / "like").iterdir())]
    assert len(like) == 2
    assert all(network.verification is not None for network in like)
    for row in rows:
        state = load_file(tmp_path / "a" / row["file"])
        fits = [network.graph for network in like if _fits(network.graph, state)]
        assert len(fits) == 1, "keys and shapes tell the architecture"
        Weights.from_state_dict(fits[0], state).check_finite()
    assert f"{length} " in capsys.readouterr().out


def _fits(graph: object, state: dict[str, torch.Tensor]) -> bool:
    found = {p.storage.key: tuple(p.storage.shape) for p in graph.parameters}
    return found == {key: tuple(tensor.shape) for key, tensor in state.items()}


@pytest.mark.parametrize("script", ["transformers"], indirect=True)
def test_shapes_tell_the_architectures_of_transformers_apart(script: ModuleType) -> None:
    """Heads show in no shape: two numbers of heads at one width would be taken for one architecture."""
    shapes = [
        tuple((key, tuple(tensor.shape)) for key, tensor in script.ToyTransformer(*how).state_dict().items())
        for how in script.ARCHITECTURES
    ]
    assert len(set(shapes)) == len(shapes)


@pytest.mark.parametrize("script", ["loras"], indirect=True)
def test_a_zoo_of_adapters(script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(script, "BASE_STEPS", 3)
    monkeypatch.setattr(script, "log_uniform", lambda low, high, generator: 3)
    script.main(tmp_path, number=6)
    rows = labels(tmp_path)
    assert [int(row["task"]) for row in rows] == [0, 1, 2, 3, 4, 0]
    base = load_file(tmp_path / "base" / "model.safetensors")
    for row in rows:
        config = json.loads((tmp_path / row["file"] / "adapter_config.json").read_text(encoding="utf-8"))
        assert (config["peft_type"], config["r"], config["target_modules"]) == ("LORA", 4, ["q", "v"])
        state = load_file(tmp_path / row["file"] / "adapter_model.safetensors")
        for key, tensor in state.items():
            path, _, side = key.removeprefix("base_model.model.").rpartition(".lora_")
            assert path.rpartition(".")[2] in config["target_modules"]
            weight = base[f"{path}.weight"]
            wanted = {"A.weight": (4, weight.shape[1]), "B.weight": (weight.shape[0], 4)}
            assert tuple(tensor.shape) == wanted[side]
        assert len(state) == 2 * 2 * script.LAYERS
        assert any(tensor.any() for key, tensor in state.items() if "lora_B" in key), "it was trained"


@pytest.mark.parametrize("script", ["cnns"], indirect=True)
def test_networks_that_train_together_learn_each_by_its_recipe(script: ModuleType) -> None:
    ensembles = sys.modules["ensembles"]
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    x = torch.randn(200, 4, generator=generator)
    examples = ensembles.Examples(x, (x[:, 0] > 0).long())
    modules = [torch.nn.Linear(4, 2) for _ in range(3)]
    recipes = [
        ensembles.Recipe(0.0, 0.0, 50, 1.0),
        ensembles.Recipe(0.1, 0.0, 100, 1.0),
        ensembles.Recipe(0.1, 0, 1, 1),
    ]
    done: list[int] = []
    states = ensembles.train(modules, recipes, examples, generator, advance=done.append)
    assert torch.equal(states[0]["weight"], modules[0].weight)  # a rate of 0 changes nothing
    assert ensembles.accuracy(modules[1], states[1], examples) > 0.95
    assert (states[2]["weight"] - modules[2].weight).abs().max() < 0.1  # one step, at a rate that only begins to rise
    assert sum(done) == 3


@pytest.mark.parametrize("script", ["cnns"], indirect=True)
def test_splits_have_their_shares(script: ModuleType, tmp_path: Path) -> None:
    rows = [{"file": str(k)} for k in range(50)]
    script.write_labels(tmp_path, rows, torch.Generator().manual_seed(0))
    splits = [row["split"] for row in labels(tmp_path)]
    assert [splits.count(name) for name in ("train", "validation", "test")] == [35, 5, 10]
