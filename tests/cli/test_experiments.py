"""``graphws run`` with an experiment, small: the run folder, the report, going on after a stop."""

from __future__ import annotations

import base64
import csv
import json
import re
import signal
from pathlib import Path

import pytest

from graphws.checkpoints.network_file import load_network
from graphws.runtime.folder import RunFolder
from graphws.spec import load_spec, shipped_specs
from tests.cli.runs import finished_run, run
from tests.cli.specs import EXPERIMENT, edited
from tests.processes import start_until

pytestmark = pytest.mark.slow

HEADS = {"hidden: [4, 6]": "hidden: [4, 6], attention: {heads: 2, patch: 4}"}
FIGURES = ["filters", "categories", "errors", "training"]


def _spec(folder: Path, **replacements: str) -> Path:
    return edited(EXPERIMENT, folder / "tiny.yaml", **replacements)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the experiment was done once."""
    return finished_run(tmp_path_factory, _spec)


def test_it_ends_with_the_layers_the_verdict_and_the_report(finished: Path) -> None:
    text = (finished / "stdout.txt").read_text()
    verdict = json.loads((finished / "runs/tiny/results.json").read_text())["verdict"]
    assert re.search(r"^layer +size +action +outcome +K-error +noise +decoys +p +matched *$", text, re.M)
    assert re.search(r"^hidden1 +4 +signed ", text, re.MULTILINE)
    assert re.search(r"^The|^" + re.escape(verdict), text, re.MULTILINE)
    assert text.strip().endswith("report: runs/tiny/report.html")
    progress = (finished / "stderr.txt").read_text()
    assert progress.startswith("autoencoder 4-6: up to 60 steps\nautoencoder 4-6: train loss ")
    assert "equivariance " in progress
    assert "r2 " in progress


def test_the_run_folder_holds_everything_and_no_checkpoint(finished: Path) -> None:
    folder = finished / "runs" / "tiny"
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    figures = {f"figures/{name}.png" for name in FIGURES}
    assert names == figures | {
        "metrics.csv",
        "models/network.safetensors",
        "probes.safetensors",
        "report.html",
        "results.json",
        "run.json",
        "run.lock",
        "spec.yaml",
        "trials/network/metrics.csv",
        "versions.json",
    }
    assert load_spec(folder / "spec.yaml") == load_spec(finished / "tiny.yaml")
    assert RunFolder(folder).status() == "complete"
    assert RunFolder(folder).state()["outcome"].startswith(json.loads((folder / "results.json").read_text())["verdict"])
    with open(folder / "metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows] == ["20", "40", "60"]
    assert list(rows[0]) == ["step", "lr", "train_loss", "equivariance", "r2", "seconds"]


def test_the_report_opens_without_a_network_and_leads_with_the_verdict(finished: Path) -> None:
    folder = finished / "runs" / "tiny"
    page = (folder / "report.html").read_text()
    results = json.loads((folder / "results.json").read_text())
    lead = re.search(r'<p class="lead">([^<]+)</p>', page)
    assert lead is not None
    assert lead.group(1).startswith(results["verdict"].replace("'", "&#x27;"))
    assert f"returns {100 * results['test']['r2']:.1f} % of the test pictures&#x27; variance." in lead.group(1)
    assert page.index("</h1>") < page.index('class="lead"') < page.index("<table")
    shown = re.findall(r'src="data:image/svg\+xml;base64,([^"]+)"', page)
    assert len(shown) == len(FIGURES)
    assert all(base64.b64decode(data).startswith(b"<svg") for data in shown)
    assert all((folder / f"figures/{name}.png").read_bytes().startswith(b"\x89PNG") for name in FIGURES)
    assert "<h1>How does a mirror act inside an autoencoder?</h1>" in page
    assert not re.search(r"(src|href)=\"(?!data:)|@import|url\(|<script|<link|https:", page)
    assert "kind: symmetry" in page


def test_the_network_is_a_converted_one_which_graphws_actions_reads(place: Path) -> None:
    network = load_network("runs/tiny/models/network.safetensors", effort=1e9)
    assert network.verified
    assert [space.size for space in network.graph.spaces] == [64, 4, 6, 64]
    result = run(
        "actions", "runs/tiny/models/network.safetensors", "--group", "mirror", "--input-shape", "1,8,8",
        "--data", "runs/tiny/probes.safetensors", "--decoys", "1", "--json", "again.json",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    again, ours = json.loads(Path("again.json").read_text()), json.loads(Path("runs/tiny/results.json").read_text())
    assert again == ours["actions"]


def test_a_finished_one_is_not_done_again(place: Path) -> None:
    before = (place / "runs/tiny/report.html").stat().st_mtime_ns
    result = run("train", "runs/tiny")
    assert result.exit_code == 0
    assert result.stderr == "runs/tiny: done already\n"
    assert result.stdout.splitlines()[:4] == (place / "stdout.txt").read_text().splitlines()[:4]
    assert (place / "runs/tiny/report.html").stat().st_mtime_ns == before


def test_an_analysis_that_was_cut_off_is_made_without_training_again(place: Path) -> None:
    folder = RunFolder(Path("runs/tiny"))
    old = (folder.path / "results.json").read_text()
    for name in ("results.json", "report.html"):
        (folder.path / name).unlink()
    folder.mark("running")
    result = run("train", "runs/tiny")
    assert result.exit_code == 0, result.output
    assert result.stderr == "runs/tiny: going on\n"
    assert (folder.path / "results.json").read_text() == old
    assert folder.status() == "complete"


def test_changed_pictures_are_noticed(place: Path) -> None:
    folder = RunFolder(Path("runs/tiny"))
    folder.mark("interrupted", pictures_sha256="0" * 64)
    result = run("train", "runs/tiny")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.splitlines()[-1] == (
        "error: the pictures have changed since runs/tiny was started; start another run"
    )
    assert folder.status() == "failed"


def test_commands_for_models_say_that_this_is_none(place: Path) -> None:
    result = run("eval", "runs/tiny")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == (
        "error: runs/tiny holds an experiment, whose figures are in runs/tiny/report.html; eval is for models\n"
    )
    result = run("explain", "tiny.yaml")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == (
        "error: explain is for models that read weights, and this spec is an experiment; `graphws check SPEC --show` "
        "spells it out and `graphws run SPEC` does it\n"
    )


def test_an_experiment_is_for_one_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from graphws import trainings
    from graphws.errors import UsageError
    from graphws.reporter import Reporter
    from graphws.runtime.environment import Processes

    with pytest.raises(UsageError) as caught:
        trainings.run(load_spec(_spec(tmp_path)), RunFolder(tmp_path / "run"), Processes(1, 2, 2), Reporter())
    assert str(caught.value) == (
        "an experiment trains one network on one device, but 2 processes were started; start it without torchrun"
    )


def test_attention_gets_its_maps_and_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = run("--debug", "run", _spec(tmp_path, **HEADS), "--set", "experiment.train.steps=20")
    assert result.exit_code == 0, result.output
    assert "By their attention maps " in result.stdout
    figures = {path.stem for path in Path("runs/tiny/figures").iterdir()}
    assert figures == {"attention", "categories", "errors", "training"}


def test_a_classifier_says_how_many_it_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    sets = ["experiment.task=classifier", "experiment.train.steps=20", "experiment.group=flip"]
    result = run("--debug", "run", _spec(tmp_path), *(x for text in sets for x in ("--set", text)))
    assert result.exit_code == 0, result.output
    assert re.search(r"The classifier names [\d.]+ % of the test pictures right\.", result.stdout)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_stopped_experiment_ends_as_if_it_had_not_been(
    tmp_path: Path, how: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = _spec(tmp_path, **{"steps: 60": "steps: 200"})
    process = start_until("last.safetensors", "graphws", "run", path.name, cwd=tmp_path)
    process.send_signal(how)
    out, error = process.communicate()
    assert out == ""
    status = RunFolder(Path("runs/tiny")).status()
    if how is signal.SIGINT:
        assert (process.returncode, status) == (130, "interrupted")
        assert error.splitlines()[-1] == "error: interrupted; go on with: graphws train runs/tiny"
    else:
        assert status == "running"
    assert not Path("runs/tiny/report.html").exists()

    result = run("run", path)
    assert result.exit_code == 0, result.output
    assert result.stderr.splitlines()[0] == "runs/tiny: going on"
    whole = run("run", path, "--folder", "whole")
    assert whole.exit_code == 0, whole.output
    ours, theirs = (load_network(f / "models/network.safetensors") for f in (Path("runs/tiny"), Path("whole")))
    for name, x in ours.weights.items():
        assert x.equal(theirs.weights[name]), name


def test_one_command_runs_what_is_missing_and_writes_the_page(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(finished)
    other = edited(EXPERIMENT, finished / "other.yaml", **{"name: tiny": "name: other", **HEADS})
    before = (finished / "runs/tiny/results.json").stat().st_mtime_ns
    result = run("results", "tiny.yaml", other.name, "--keep", tmp_path / "kept", "-o", tmp_path / "page.md")
    assert result.exit_code == 0, result.output
    assert (finished / "runs/tiny/results.json").stat().st_mtime_ns == before
    page = (tmp_path / "page.md").read_text()
    for name, figure in (("tiny", "filters"), ("other", "attention")):
        assert f"](kept/{name}/figures/{figure}.png)" in page
        assert f"    graphws run {name}.yaml\n" in page
        verdict = json.loads((finished / f"runs/{name}/results.json").read_text())["verdict"]
        assert verdict in page.replace("\\", "")
    assert "- training: 60 steps of 16 pictures" in page
    assert re.search(r"^- first layer: \d+ [a-z]", page, re.MULTILINE)
    assert (
        run(
            "results", tmp_path / "kept/tiny", tmp_path / "kept/other", "-o", tmp_path / "page.md", "--overwrite"
        ).exit_code
        == 0
    )
    assert (tmp_path / "page.md").read_text() == page


def test_mistakes_of_the_one_command_are_told_before_the_work(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(finished)
    result = run("results", "runs/tiny", "--scale", "small")
    assert (result.exit_code, result.stderr) == (
        2, "error: --set and --scale belong to specs, which are run first; runs are as they are\n"
    )  # fmt: skip
    result = run("results", "mirror-autoencoder", "tiny.yaml", "--scale", "small")
    assert result.exit_code == 2
    assert "no scale 'small'; the spec has no `scales`" in result.stderr
    assert not Path("runs/mirror-autoencoder").exists()


def test_the_papers_figures_have_a_small_scale() -> None:
    for name in shipped_specs():
        if name.startswith("mirror-") and "digits" not in name:
            spec = load_spec(name, (), "small")
            assert spec.title
            assert spec.notes
            assert (spec.scaled, spec.experiment.train.steps, spec.experiment.train.batch_size) == ("small", 4000, 512)


def test_the_papers_experiments_are_shipped_at_their_scale() -> None:
    names = [name for name in shipped_specs() if name.startswith("mirror-")]
    assert {
        "mirror-autoencoder",
        "mirror-classifier",
        "mirror-autoencoder-gelu",
        "mirror-classifier-gelu",
        "mirror-heads",
        "mirror-digits",
    } <= set(names)
    for name in names:
        section = load_spec(name).experiment
        assert section is not None
        if "digits" in name:
            assert section.source.kind == "digits"
            continue
        train = section.train
        assert (train.steps, train.batch_size, train.lr, train.weight_decay) == (13_000, 4096, 1e-3, 0.99)
        assert train.equivariance == (1.0 if section.task == "classifier" else 5.0)
        assert section.pictures.size == 14
        assert section.network.hidden == ((256,) * 3 if "heads" in name else (64, 256, 256))
        assert section.network.activations == ("gelu" if "gelu" in name else "tanh", "gelu", "gelu")
        assert (section.network.attention is not None) == ("heads" in name)
