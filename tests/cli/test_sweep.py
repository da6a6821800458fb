"""``graphws run`` with a sweep, and ``graphws results``, small: points, table, curve, going on, the page."""

from __future__ import annotations

import json
import re
import shutil
import signal
from pathlib import Path

import pytest

from graphws.runtime.folder import RunFolder
from graphws.spec import load_spec
from tests.cli.runs import finished_run, run
from tests.cli.specs import QUICK, edited
from tests.processes import start_until

pytestmark = pytest.mark.slow

SWEPT = """\
title: How many networks
notes: Toy sizes, and no figure of any paper.
sweep: {key: input.training, values: [20, 60], label: training networks}
published:
  source: Nobody, table 0
  unit: 0.01
  rows: {mlp: {"20": [12, 1.5], "60": 20}, INR2Vec: {"60": 23.7}}
scales:
  small: {train: {epochs: 1}, compare: {mlp: null}, sweep: {values: [60]}}
"""


def _spec(folder: Path, **replacements: str) -> Path:
    return edited(QUICK + SWEPT, folder / "quick.yaml", **{"seeds: [0]": "seeds: [0, 1]", **replacements})


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the sweep was done once."""
    return finished_run(tmp_path_factory, _spec)


def test_it_ends_with_one_table_the_papers_figures_beside_ours(finished: Path) -> None:
    text = (finished / "stdout.txt").read_text()
    assert re.search(
        r"^training networks +dwsnet, test accuracy +mlp, test accuracy +mlp, paper +INR2Vec, paper *$", text, re.M
    )
    assert re.search(r"^20 +[\d.]+ ± [\d.]+ % +[\d.]+ ± [\d.]+ % +12 ± 1\.5 % +– *$", text, re.MULTILINE)
    assert re.search(r"^60 +[\d.]+ ± [\d.]+ % +[\d.]+ ± [\d.]+ % +20 % +23\.7 % *$", text, re.MULTILINE)
    assert text.strip().endswith("report: runs/quick/report.html")


def test_every_point_is_a_run_on_the_same_zoo(finished: Path) -> None:
    folder = RunFolder(finished / "runs/quick")
    states = [RunFolder(folder.path / "points" / name).state() for name in ("20", "60")]
    assert [state["status"] for state in (folder.state(), *states)] == ["complete"] * 3
    assert states[0]["zoo_sha256"] == states[1]["zoo_sha256"]
    assert len([path for path in (finished / "zoos").iterdir() if path.is_dir()]) == 1
    specs = [load_spec(folder.path / "points" / name / "spec.yaml") for name in ("20", "60")]
    assert [(spec.input.training, spec.sweep) for spec in specs] == [(20, None), (60, None)]
    found = json.loads((folder.path / "results.json").read_text())["sweep"]
    for point in found["points"]:
        alone = json.loads((folder.path / "points" / point["folder"] / "results.json").read_text())
        assert point["results"] == alone
        assert alone["networks"]["train"] == point["value"]
    assert found["published"]["INR2Vec"] == {"60": [0.237, None]}


def test_its_report_shows_the_curve_and_leads_to_the_points(finished: Path) -> None:
    folder = finished / "runs/quick"
    page = (folder / "report.html").read_text()
    assert (folder / "figures/sweep.png").read_bytes().startswith(b"\x89PNG")
    links = re.findall(r'href="([^"]+)"', page)
    assert links == ["points/20/report.html", "points/60/report.html"]
    assert all((folder / link).is_file() for link in links)
    assert "<h1>How many networks</h1>" in page
    assert "Toy sizes, and no figure of any paper." in page


def test_run_json_says_how_it_was_asked_for_and_how_long_it_took(finished: Path) -> None:
    state = RunFolder(finished / "runs/quick").state()
    assert state["request"] == {"spec": "quick.yaml", "scale": None, "overrides": []}
    assert set(state["seconds"]) == {"training", "zoo"}
    assert set(state["machine"]) == {"device", "threads"}


def test_a_finished_sweep_is_not_done_again_and_what_is_damaged_comes_back(place: Path) -> None:
    folder = Path("runs/quick")
    assert run("train", folder).stderr == "runs/quick: done already\n"
    kept = (folder / "points/60/models/dwsnet.safetensors").read_bytes()
    (folder / "points/60/models/dwsnet.safetensors").write_bytes(b"")
    result = run("train", folder)
    assert result.exit_code == 0, result.output
    assert "dwsnet.safetensors was altered" in result.stderr
    assert (folder / "points/60/models/dwsnet.safetensors").read_bytes() == kept


def test_eval_scores_every_point_and_predict_names_them(place: Path) -> None:
    text = run("eval", "runs/quick").stdout
    assert "input.training = 20, runs/quick/points/20, test split, 24 networks" in text
    assert "input.training = 60, runs/quick/points/60, test split, 24 networks" in text
    result = run("predict", "runs/quick", next(path for path in Path("zoos").iterdir() if path.is_dir()))
    assert (result.exit_code, result.stderr) == (
        2,
        "error: runs/quick holds a sweep, whose models are at its points; name one of them: runs/quick/points/20\n",
    )


def test_a_killed_sweep_goes_on_and_ends_like_one_that_was_not(finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished / "zoos", tmp_path / "zoos")
    _spec(tmp_path)
    process = start_until("trial.json", "graphws", "run", "quick.yaml", times=6, cwd=tmp_path)  # in the second point
    process.send_signal(signal.SIGKILL)
    process.communicate()
    folder = tmp_path / "runs/quick"
    assert not RunFolder(folder).complete()
    assert RunFolder(folder / "points/20").complete()
    done = (folder / "points/20/results.json").stat().st_mtime_ns
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        result = run("run", "quick.yaml")
    assert result.exit_code == 0, result.output
    assert "runs/quick: going on" in result.stderr
    assert (folder / "points/20/results.json").stat().st_mtime_ns == done, "a finished point is done again"
    for name in ("figures/sweep.png", "points/60/models/dwsnet.safetensors", "points/60/models/mlp.safetensors"):
        assert (folder / name).read_bytes() == (finished / "runs/quick" / name).read_bytes(), name


def test_a_scale_has_other_values_and_leaves_the_papers_there(place: Path) -> None:
    result = run("run", "quick.yaml", "--scale", "small", "--folder", "runs/small")
    assert result.exit_code == 0, result.output
    assert re.search(r"^60 +[\d.]+ ± [\d.]+ % +20 % +23\.7 % *$", result.stdout, re.MULTILINE)
    assert re.search(r"^20 +– +12 ± 1\.5 % +– *$", result.stdout, re.MULTILINE)
    stored = load_spec("runs/small/spec.yaml")
    assert stored == load_spec("quick.yaml", scale="small")
    assert stored.scaled == "small"


def test_the_page_of_results_is_made_from_folders_alone(place: Path) -> None:
    assert run("run", "quick.yaml", "--scale", "small", "--set", "train.seeds=[3]").exit_code == 0
    result = run("results", "runs/quick", "runs/quick-2", "-o", "page.md", "--html", "page.html")
    assert result.exit_code == 0, result.output
    page = Path("page.md").read_text()
    rows = re.findall(r"^\| 60 \|.*$", page, re.MULTILINE)
    assert re.fullmatch(r"\| 60 \| [\d.]+ ± [\d.]+ % \| [\d.]+ ± [\d.]+ % \| 20 % \| 23\.7 % \|", rows[0])
    assert "\n## How many networks\n\nToy sizes, and no figure of any paper.\n\n    graphws run quick.yaml\n" in page
    assert "\n## How many networks (scale small, not the paper's; changed: train.seeds=\\[3\\])\n" in page
    assert "\n    graphws run quick.yaml --scale small --set 'train.seeds=[3]'\n" in page
    assert "- networks: 20 to 60 train, 24 validation, 24 test\n- seeds: 2\n- time: fit of the zoo " in page
    for name in re.findall(r"\]\(([^)]+)\)", page):
        assert Path(name).read_bytes().startswith(b"\x89PNG")
    html = Path("page.html").read_text()
    assert html.count("<img") == 2
    assert not re.search(r"(src|href)=\"(?!data:)|<script|<link", html)


def test_the_same_page_is_made_of_kept_copies_which_name_no_place(place: Path) -> None:
    zoo = next(path for path in Path("zoos").iterdir() if path.is_dir()).resolve()
    moved = ["--set", f"input.path={zoo}", "--set", "zoo=null", "--folder", "runs/small"]
    assert run("run", "quick.yaml", "--scale", "small", *moved).exit_code == 0
    result = run("results", "runs/quick", "runs/small", "--keep", "kept", "-o", "kept.md")
    assert result.exit_code == 0, result.output
    names = {path.relative_to("kept/quick").as_posix() for path in Path("kept/quick").rglob("*") if path.is_file()}
    assert names == {"spec.yaml", "run.json", "results.json", "figures/sweep.png"}
    assert not [path for path in Path("kept").rglob("*") if path.is_file() and str(place).encode() in path.read_bytes()]
    page = Path("kept.md").read_bytes()
    assert f"input.path={zoo.name}" in page.decode()
    shutil.rmtree("runs")
    assert run("results", "kept/quick", "kept/small", "-o", "kept.md", "--overwrite").exit_code == 0
    assert Path("kept.md").read_bytes() == page
    shown = run("results", "kept/quick").stdout
    assert shown.splitlines()[0] == "# Results"
    refused = run("train", "kept/quick")
    assert (refused.exit_code, refused.stderr) == (
        1,
        "error: kept/quick is a copy of a run for a page of results, which cannot go on\n",
    )


def test_numbers_that_were_typed_are_not_shown(place: Path) -> None:
    assert run("results", "runs/quick", "--keep", "kept").exit_code == 0
    path = Path("kept/quick/results.json")
    path.write_text(path.read_text().replace('"accuracy": 0.', '"accuracy": 0.9', 1))
    result = run("results", "kept/quick")
    assert (result.exit_code, result.stdout, result.stderr) == (
        1,
        "",
        "error: kept/quick/results.json was altered; make it again with: graphws results RUN --keep FOLDER\n",
    )


def test_what_people_write_beside_a_copy_is_shown_and_stays(place: Path) -> None:
    assert run("results", "runs/quick", "--keep", "kept").exit_code == 0
    notes = Path("kept/quick/notes.md")
    notes.write_text("Few networks,\nso ranks say little.\n", encoding="utf-8")
    assert "Few networks, so ranks say little." in run("results", "kept/quick").stdout
    assert run("results", "runs/quick", "--keep", "kept").exit_code == 0
    assert notes.read_text(encoding="utf-8") == "Few networks,\nso ranks say little.\n"
    notes.write_bytes(b"x" * ((1 << 16) + 1))
    result = run("results", "kept/quick")
    assert (result.exit_code, result.stderr) == (1, "error: kept/quick/notes.md has more than 65,536 bytes\n")


def test_what_has_no_scores_is_not_on_a_page(place: Path) -> None:
    RunFolder(Path("runs/quick")).mark("interrupted")
    result = run("results", "runs/quick")
    assert (result.exit_code, result.stderr) == (
        1,
        "error: runs/quick is interrupted; finish it with: graphws train runs/quick\n",
    )
    Path("kept/quick").mkdir(parents=True)
    RunFolder(Path("runs/quick")).mark("complete")
    result = run("results", "runs/quick", "--keep", "kept")
    assert (result.exit_code, result.stderr) == (
        1,
        "error: kept/quick is there already and no copy that graphws made; choose another folder\n",
    )
    result = run("results", "runs/quick", "runs/../runs/quick", "--keep", "others")
    assert (result.exit_code, result.stderr) == (
        2,
        "error: two runs have the name 'quick'; rename the folder of one of them\n",
    )
