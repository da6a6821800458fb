"""The package in examples/plugin, found by its entry points: checked, explained, run, stopped, gone on with, scored."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.packages import PLUGIN, entry_points_of, install
from tests.processes import start_until

ROOT = PLUGIN.parents[1]
SPEC = PLUGIN / "chirps.yaml"
SECTIONS = (
    "  source: {kind: chirps, limit: null, count: 80, rate: 4.0, points: 64}\n",
    "model: {kind: moments, powers: 3}\n",
    "head: {kind: bounded, outputs: 1, bound: 2.5}\n",
    "task: {kind: median, target: rate}\n",
)


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Where the package is installed, beside this graphws."""
    packages = install(tmp_path_factory.mktemp("packages"), "graphws_chirps", entry_points_of(PLUGIN))
    paths = [packages, PLUGIN, ROOT, ROOT / "converters"]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths))}


def graphws(place: Path, environment: dict[str, str], *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """``graphws`` in a process of its own."""
    command = [sys.executable, "-m", "graphws", *map(str, arguments)]
    return subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, check=False)


def test_check_and_schema_know_the_kinds(tmp_path: Path, environment: dict[str, str]) -> None:
    done = graphws(tmp_path, environment, "check", SPEC)
    assert (done.returncode, done.stdout) == (0, f"{SPEC} is fine\n"), done.stderr
    text = graphws(tmp_path, environment, "check", SPEC, "--show").stdout
    for section in SECTIONS:
        assert section in text
    schema = json.loads(graphws(tmp_path, environment, "schema").stdout)
    kinds = {"ChirpSource", "SirenInput", "MomentsModel", "BoundedHead", "MedianTask", "LouderTarget", "InvertEdit"}
    assert kinds <= set(schema["$defs"])


def test_mistakes_in_them_are_told_like_any_other(tmp_path: Path, environment: dict[str, str]) -> None:
    done = graphws(tmp_path, environment, "check", SPEC, "--set", "zoo.source.cuont=3", "--set", "model.kind=moment")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "--set 1:1:12: unknown key 'cuont' in zoo.source; did you mean 'count'?\n"
        "  zoo.source.cuont=3\n"
        "             ^\n"
        "--set 2:1:12: model.kind must be 'dwsnet', 'dwsnet-published', 'gnn', 'mlp', 'moments', 'queries', 'rows', "
        "'transformer', 'trees' or 'unchanged', got 'moment'; did you mean 'moments'?\n"
        "  model.kind=moment\n"
        "             ^\n"
    )
    done = graphws(tmp_path, environment, "check", SPEC, "--set", "task.target=rat")
    assert done.stderr.startswith(
        "--set 1:1:13: task reads the column 'rat', which the zoo's table will not have; did you mean 'rate'?\n"
    )
    done = graphws(tmp_path, environment, "check", SPEC, "--set", "head={kind: equivariant}")
    assert "head.kind is equivariant, but the task median needs invariant" in done.stderr


def test_an_input_is_explained_and_cannot_be_trained_on(tmp_path: Path, environment: dict[str, str]) -> None:
    siren = ("--set", "input={kind: siren, width: 4}")
    done = graphws(tmp_path, environment, "explain", SPEC, *siren, "--set", "model={kind: dwsnet, layers: 2}")
    assert done.returncode == 0, done.stderr
    assert "layer 2: 32 -> 32 channels" in done.stdout
    refusal = "training needs networks, but the spec has the input kind 'siren'; use `input: {kind: zoo}`"
    done = graphws(tmp_path, environment, "check", SPEC, *siren)
    assert done.stdout == (
        f"{SPEC} is a valid spec, but graphws run would refuse it: {refusal}\n"
        "its model learns 19 numbers\n"
        "warning: mlp learns 42 numbers at `width: 1`, which is as near as it comes to the 19 of moments\n"
    )
    done = graphws(tmp_path, environment, "run", SPEC, *siren)
    assert (done.returncode, done.stderr) == (2, f"error: {refusal}\n")


@pytest.mark.slow
def test_a_run_trains_models_under_the_head_and_the_task(tmp_path: Path, environment: dict[str, str]) -> None:
    done = graphws(tmp_path, environment, "run", SPEC)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "runs" / "chirps"
    text = (folder / "spec.yaml").read_text()
    for section in SECTIONS:
        assert section in text
    assert json.loads((folder / "versions.json").read_text())["graphws_chirps"] == "0.1.0"
    results = json.loads((folder / "results.json").read_text())
    assert results["metric"] == {"name": "mae", "higher_is_better": False}
    assert [score["name"] for score in results["scores"]] == ["moments", "dwsnet", "mlp"]
    assert all(set(score["test"][0]) == {"loss", "mae"} for score in results["scores"])
    assert all(trial["val_mae"] for trial in rows(folder))
    done = graphws(tmp_path, environment, "eval", folder)
    mae = results["scores"][0]["test"][0]["mae"]
    assert any(line.split()[:1] == ["moments"] and f"{mae:.3g}" in line for line in done.stdout.splitlines())


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="needs signals")
def test_a_stopped_run_goes_on_from_its_folder(tmp_path: Path, environment: dict[str, str]) -> None:
    epochs, folder = 6, tmp_path / "runs" / "chirps"
    sets = ["--set", f"train.epochs={epochs}", "--set", "compare=[]"]
    process = start_until("last.ckpt", "graphws", "run", str(SPEC), *sets, cwd=tmp_path, env=environment)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate()
    assert process.returncode == 130, error
    assert json.loads((folder / "run.json").read_text())["status"] == "interrupted"
    done = graphws(tmp_path, environment, "train", folder)
    assert done.returncode == 0, done.stderr
    assert f"{folder}: going on" in done.stderr
    assert [int(row["epoch"]) for row in rows(folder)] == list(range(1, epochs + 1))
    assert json.loads((folder / "results.json").read_text())["metric"]["name"] == "mae"
    for section in SECTIONS:
        assert section in (folder / "spec.yaml").read_text()


def rows(folder: Path) -> list[dict[str, str]]:
    """Every epoch of every training of a run."""
    with open(folder / "metrics.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_networks_that_are_run_take_targets_and_edits_of_the_package(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    settings = [
        "task={kind: functional, target: {kind: louder, factor: 1.5, points: 32}}",
        "head={kind: equivariant}",
        "model={kind: dwsnet, layers: 2, channels: 4, norm: none, init_scale: 1e-3}",
        "compare=[{name: unchanged, model: {kind: unchanged}}]",
        "train.epochs=4",
        "train.optimizer.lr=1e-3",
        "zoo.fit.steps=20",
    ]
    sets = [part for setting in settings for part in ("--set", setting)]
    done = graphws(tmp_path, environment, "run", SPEC, "--folder", tmp_path / "run", *sets)
    assert done.returncode == 0, done.stderr[-2000:]
    own, unchanged = json.loads((tmp_path / "run" / "results.json").read_text())["scores"]
    assert own["test"][0]["mse"] < unchanged["test"][0]["mse"]
    edit = "task={kind: functional, target: {kind: edit, change: {kind: invert, white: 2.0}}}"
    sets += ["--set", "zoo.source={kind: digits}", "--set", edit]
    done = graphws(tmp_path, environment, "check", SPEC, "--show", *sets)
    assert (done.returncode, "change: {kind: invert, white: 2.0}" in done.stdout) == (0, True), done.stderr
