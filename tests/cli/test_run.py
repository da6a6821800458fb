"""The main job from the command line, small: fit, train, compare, report, evaluate, go on."""

from __future__ import annotations

import base64
import csv
import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors import safe_open

from graphws.runtime.folder import RunFolder
from graphws.spec import load_spec
from tests.cli.runs import finished_run, run
from tests.cli.specs import BASELINE, quick
from tests.processes import start_until

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which ``graphws run quick.yaml`` was called once."""
    return finished_run(tmp_path_factory, quick)


def test_a_run_ends_with_a_table_and_says_where_the_report_is(finished: Path) -> None:
    text = (finished / "stdout.txt").read_text()
    assert re.search(r"^model +access +parameters +test accuracy +lr +seconds *$", text, re.MULTILINE)
    assert re.search(r"^dwsnet +weights +[\d,]+ +[\d.]+ % +0.01 +\d+ *$", text, re.MULTILINE)
    assert re.search(r"^mlp +weights +[\d,]+ +[\d.]+ % +0.01 +\d+ *$", text, re.MULTILINE)
    assert text.strip().endswith("report: runs/quick/report.html")


def test_the_run_folder_holds_everything(finished: Path) -> None:
    folder = finished / "runs" / "quick"
    assert RunFolder(folder).status() == "complete"
    for name in (
        "spec.yaml",
        "versions.json",
        "metrics.csv",
        "results.json",
        "report.html",
        "models/dwsnet.safetensors",
    ):
        assert (folder / name).stat().st_size > 0
    assert {p.stem for p in (folder / "figures").iterdir()} == {
        "scores", "curves", "augmentation", "confusion", "networks",
    }  # fmt: skip
    assert load_spec(folder / "spec.yaml") == load_spec(finished / "quick.yaml")
    with safe_open(str(folder / "models" / "dwsnet.safetensors"), framework="pt") as file:
        description = json.loads(file.metadata()["description"])
    assert description["model"]["kind"] == "dwsnet"
    assert set(json.loads(description["graph"])) >= {"spaces", "parameters"}


def test_the_two_models_have_about_as_many_parameters(finished: Path) -> None:
    scores = json.loads((finished / "runs" / "quick" / "results.json").read_text())["scores"]
    own, mlp = (score["parameters"] for score in scores)
    assert mlp == pytest.approx(own, rel=0.1)


def test_the_report_opens_without_a_network(finished: Path) -> None:
    page = (finished / "runs" / "quick" / "report.html").read_text()
    drawn = {path.stem: path.read_bytes() for path in (finished / "runs" / "quick" / "figures").iterdir()}
    shown = re.findall(r'src="data:image/svg\+xml;base64,([^"]+)"></div><figcaption>([^<]+)</figcaption>', page)
    assert [caption for _, caption in shown] == [
        "accuracy on the test split; dots are seeds.",
        "Training, one line a seed.",
        "What dwsnet takes each class for.",
        "What dwsnet read: test networks as the pictures that they draw, under its answer for each.",
        "What training networks draw, and what they draw after the random changes of augment (dwsnet).",
    ]
    assert all(base64.b64decode(data).startswith(b"<svg") for data, _ in shown)
    assert set(drawn) == {"scores", "curves", "confusion", "networks", "augmentation"}
    assert all(content.startswith(b"\x89PNG") for content in drawn.values())
    assert "<h1>Which label does a network have?</h1>" in page
    fold = page[page.index("<details>") :]
    assert "<td>command</td><td>graphws run quick.yaml</td>" in fold
    assert "<td>seeds</td><td>0</td>" in fold
    assert "<td>torch</td>" in fold
    assert page.count("<img") == len(shown) == len(drawn)
    assert not re.search(r"(src|href)=\"(?!data:)|@import|url\(|<script|<link", page)
    assert "https:" not in page
    assert "name: quick" in page


def test_eval_repeats_the_scores(place: Path) -> None:
    score = json.loads((place / "runs/quick/results.json").read_text())["scores"][0]
    result = run("eval", "runs/quick")
    assert result.exit_code == 0, result.output
    assert re.search(
        rf"^dwsnet +weights +{score['test'][0]['loss']:.3g} +{score['test'][0]['accuracy'] * 100:.1f} % *$",
        result.stdout,
        re.MULTILINE,
    )
    assert "test split, 24 networks" in result.stdout
    assert "validation split" in run("eval", "quick.yaml", "--split", "validation").stdout


def test_a_finished_run_is_not_done_again_and_a_new_one_gets_a_new_folder(place: Path) -> None:
    result = run("train", "runs/quick")
    assert result.exit_code == 0
    assert result.stderr == "runs/quick: done already\n"
    again = run("run", "quick.yaml", "--set", "train.epochs=1")
    assert again.exit_code == 0, again.output
    assert "report: runs/quick-2/report.html" in again.stdout
    assert "networks" not in again.stderr, "the zoo was fitted again"


def test_a_folder_of_another_spec_is_refused(place: Path) -> None:
    result = run("run", "quick.yaml", "--set", "train.epochs=1", "--folder", "runs/quick")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == (
        "error: runs/quick holds a run of another spec; choose another folder, "
        "or continue it: graphws train runs/quick\n"
    )


def test_a_spec_that_was_edited_is_named_with_the_command_that_heals(place: Path) -> None:
    spec = Path("runs/quick/spec.yaml")
    kept = spec.read_text()
    spec.write_text("# a note\n" + kept)
    assert run("train", "runs/quick").exit_code == 0, "it says the same"
    spec.write_text(kept.replace("epochs: 3", "epochs: 4"))
    result = run("train", "runs/quick")
    assert (result.exit_code, result.stderr) == (
        1,
        "error: runs/quick/spec.yaml was edited after the run was started; put it back, or start a run of what it is "
        "now: graphws run runs/quick/spec.yaml --folder ANOTHER-FOLDER\n",
    )


def test_a_damaged_run_is_made_whole_by_the_command_that_is_named(place: Path) -> None:
    folder = Path("runs/quick")
    model, results = folder / "models" / "dwsnet.safetensors", folder / "results.json"
    kept = model.read_bytes()
    model.write_bytes(kept[:-100])
    result = run("eval", folder)
    assert result.exit_code == 1
    assert result.stderr.endswith("; make it again with: graphws train runs/quick\n")
    results.write_text("{")
    result = run("train", folder)
    assert result.exit_code == 0, result.output
    assert "runs/quick is complete, but damaged, and is gone on with: " in result.stderr
    assert model.read_bytes() == kept
    (folder / "run.json").write_text("")
    result = run("eval", folder)
    assert result.exit_code == 1
    assert result.stderr.endswith("; go on with: graphws train runs/quick\n")
    result = run("train", folder)
    assert result.exit_code == 0, result.output
    assert "run.json is damaged and is made again" in result.stderr
    assert run("eval", folder).exit_code == 0


def test_everything_that_was_altered_comes_back_as_it_was(place: Path) -> None:
    folder = Path("runs/quick")
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    models = folder / "models"
    shutil.copy(models / "mlp.safetensors", models / "dwsnet.safetensors")
    result = run("eval", folder)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == (
        "error: runs/quick/models/dwsnet.safetensors was altered; make it again with: graphws train runs/quick\n"
    )
    (folder / "report.html").unlink()
    shutil.rmtree(folder / "figures")
    for name in ("results.json", "metrics.csv", "versions.json", "trials/dwsnet-lr0.01-seed0/best.safetensors"):
        data = bytearray((folder / name).read_bytes())
        data[len(data) // 2] ^= 1
        (folder / name).write_bytes(data)
    result = run("train", folder)
    assert result.exit_code == 0, result.output
    assert "runs/quick/report.html is missing and is made again" in result.stderr
    assert "best.safetensors is damaged: " in result.stderr
    after = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    timed = {path for path in before if path.name in ("run.json", "report.html", "metrics.csv", "trial.json")}
    timed.add(folder / "results.json")
    assert after.keys() == before.keys()
    assert [path for path in before.keys() - timed if after[path] != before[path]] == []
    assert run("train", folder).stderr == "runs/quick: done already\n"


def test_a_lost_spec_is_put_back_by_the_command_that_is_named(place: Path) -> None:
    spec = Path("runs/quick/spec.yaml")
    kept = spec.read_text()
    for damage, what in ((Path.unlink, "is missing"), (lambda path: path.write_text("graphws: ["), "is damaged")):
        damage(spec)
        for command in ("train", "eval"):
            result = run(command, "runs/quick")
            assert (result.exit_code, result.stdout) == (1, "")
            assert result.stderr.startswith(f"error: {spec} {what}")
            assert result.stderr.endswith(
                "; put it back with: graphws run SPEC --folder runs/quick, SPEC being what the run was started with\n"
            )
        other = run("run", "quick.yaml", "--set", "train.epochs=1", "--folder", "runs/quick")
        assert other.exit_code == 1
        result = run("run", "quick.yaml", "--folder", "runs/quick")
        assert result.exit_code == 0, result.output
        assert f"{spec} is missing or damaged and is made again" in result.stderr
        assert spec.read_text() == kept


def test_a_changed_zoo_is_noticed(place: Path) -> None:
    manifest = next((place / "zoos").glob("*/zoo.json"))
    folder = RunFolder(Path("runs/quick"))
    folder.mark("complete", zoo=str(manifest.parent))
    manifest.write_text(manifest.read_text().replace('"provenance"', ' "provenance"'))
    result = run("eval", "runs/quick")
    assert result.exit_code == 1
    assert result.stderr == (
        f"error: the zoo {manifest.parent} has changed since runs/quick was started; start another run\n"
    )


def test_nan_weights_are_refused_with_their_network(place: Path) -> None:
    import torch
    from safetensors.torch import save_file

    source = place / "checkpoints"
    source.mkdir()
    unpacked = run(
        "zoo",
        "unpack",
        next(path for path in (place / "zoos").iterdir() if path.is_dir()),
        source,
        "-n",
        "0",
        "-n",
        "1",
    )
    assert unpacked.exit_code == 0, unpacked.output
    broken = source / "network-000001.safetensors"
    with safe_open(str(broken), framework="pt") as file:
        state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    save_file({**state, "0.bias": torch.full_like(state["0.bias"], float("nan"))}, broken)
    result = run("zoo", "pack", source, "packed", "--validation", "0", "--test", "0")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.splitlines()[-1] == f"error: {broken}: '0.bias' holds NaN or inf"


def test_a_full_disk_ends_a_run_with_a_line(tmp_path: Path, finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(finished / "zoos", tmp_path / "zoos")
    monkeypatch.chdir(tmp_path)
    path, real = quick(tmp_path), os.fsync

    def full_for_models(descriptor: int) -> None:
        if "best.safetensors" in os.readlink(f"/proc/self/fd/{descriptor}"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full_for_models)
        result = run("run", path)
    trial = Path("runs/quick/trials/dwsnet-lr0.01-seed0/best.safetensors")
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1] == (
        f"error: cannot write {trial}: the disk is full; free some space and run the same command again"
    )
    assert RunFolder(Path("runs/quick")).status() == "failed"
    again = run("run", path)
    assert again.exit_code == 0, again.output
    assert RunFolder(Path("runs/quick")).status() == "complete"


def _start(place: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "graphws", *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command, cwd=place, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_stopped_run_goes_on_with_the_same_command(tmp_path: Path, how: signal.Signals) -> None:
    path = quick(tmp_path, **{"epochs: 3": "epochs: 6", BASELINE: ""})
    process = start_until("last.ckpt", "graphws", "run", path.name, cwd=tmp_path)
    process.send_signal(how)
    out, error = process.communicate()
    status = RunFolder(tmp_path / "runs/quick").status()
    assert out == ""
    if how is signal.SIGINT:
        assert (process.returncode, status) == (130, "interrupted")
        assert error.splitlines()[-1] == "error: interrupted; go on with: graphws train runs/quick"
    else:
        assert status == "running"
    assert not (tmp_path / "runs/quick/report.html").exists()

    process = _start(tmp_path, "train", "runs/quick")
    out, error = process.communicate()
    assert process.returncode == 0, error
    assert error.splitlines()[0] == "runs/quick: going on"
    assert out.strip().endswith("report: runs/quick/report.html")
    with open(tmp_path / "runs/quick/trials/dwsnet-lr0.01-seed0/metrics.csv", newline="") as file:
        assert [int(row["epoch"]) for row in csv.DictReader(file)] == list(range(1, 7))


def _finish(command: list[str], place: Path) -> tuple[str, str, int]:
    """Run a command to its end; if that does not come, end it with all that it started."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        command,
        cwd=place,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        out, error = process.communicate()
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    return out, error, process.returncode


def test_two_processes_follow_the_curve_of_one_with_batch_statistics(tmp_path: Path, finished: Path) -> None:
    """The equivariant norm gathers its statistics over processes, so even a BatchNorm model agrees.

    With SGD: Adam's first steps turn rounding errors of tiny gradients into whole steps.
    """
    curves = {}
    for processes in (1, 2):
        place = tmp_path / str(processes)
        shutil.copytree(finished / "zoos", place / "zoos")
        changes = {"{noise: 0.05}": "{noise: 0.0}", "adamw, lr: 1e-2": "sgd, lr: 1e-2", "norm: layer": "norm: batch"}
        quick(place, **changes)
        launcher = ["torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "graphws"]
        command = [sys.executable, "-m", *(launcher if processes == 2 else ["graphws"]), "train", "quick.yaml"]
        out, error, code = _finish(command, place)
        assert code == 0, error
        assert out.count("report: runs/quick/report.html") == 1
        assert "Warning" not in error
        _, error, code = _finish([*command[:-1], "runs/quick"], place)
        assert (code, error.count("runs/quick: done already")) == (0, 1), error
        with open(place / "runs/quick/metrics.csv", newline="") as file:
            curves[processes] = [
                {name: float(value) for name, value in row.items() if name not in ("trial", "seconds")}
                for row in csv.DictReader(file)
            ]
    assert len(curves[1]) == len(curves[2]) == 6
    for one, two in zip(curves[1], curves[2], strict=True):
        assert one["train_loss"] == pytest.approx(two["train_loss"], rel=1e-4)
        assert one["val_loss"] == pytest.approx(two["val_loss"], rel=1e-4)
