"""Building zoos: resuming after a kill, Ctrl-C and a full disk; ranks; names that are taken."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import stat
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from graphws.errors import ZooError
from graphws.operations import forward
from graphws.zoo import Architecture, FitOptions, SignalFitting, SplitOptions, Zoo, fit_job, fit_zoo, load_digits
from graphws.zoo.fit_job import Progress, check_fit
from graphws.zoo.reconstruction import reconstruct
from graphws.zoo.writer import building
from tests.processes import ROOT, start_until

ARCHITECTURE = Architecture((2, 8, 8, 1), omega=5.0)
OPTIONS = FitOptions(steps=4, lr=0.02, views=2, psnr=None)


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fit_job, "PART", 16)


def fit(path: Path, count: int = 50, **options: object) -> Zoo | None:
    return fit_zoo(path, load_digits(limit=count), ARCHITECTURE, OPTIONS, **options)  # type: ignore[arg-type]


def content(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_a_zoo_holds_what_was_fitted(tmp_path: Path) -> None:
    zoo = fit(tmp_path / "zoo")
    assert zoo is not None
    samples = load_digits(limit=50)
    assert len(zoo) == 100
    assert zoo.table["sample"].tolist() == [*range(50), *range(50)]
    assert zoo.table["view"].tolist() == [0] * 50 + [1] * 50
    assert zoo.table["label"].tolist() == samples.table["label"].tolist() * 2
    weights = zoo.weights()
    output = forward(zoo.graph, weights, samples.coordinates.float())
    loss = (output - samples.targets(zoo.table["sample"])).square().mean(dim=(1, 2))
    assert np.allclose(loss.numpy(), zoo.table["loss"], rtol=1e-4)
    assert not torch.equal(weights.flatten()[0], weights.flatten()[50])
    assert sorted(content(tmp_path / "zoo")) == [
        "graph.json",
        "statistics.safetensors",
        "table.parquet",
        "weights-00000.safetensors",
        "zoo.json",
    ]
    assert not (tmp_path / "zoo.partial").exists()
    assert zoo.provenance["fit"]["options"]["views"] == 2
    assert zoo.provenance["signal"]["shape"] == [8, 8]
    assert str(tmp_path) not in (tmp_path / "zoo" / "zoo.json").read_text()


def test_all_views_share_a_split(tmp_path: Path) -> None:
    zoo = fit(tmp_path / "zoo", split=SplitOptions(validation=0.2, test=0.3))
    assert zoo is not None
    assert zoo.table["split"][:50].tolist() == zoo.table["split"][50:].tolist()
    assert len(zoo.split("test")) == 30


def test_threads_ranks_and_groups_change_nothing(tmp_path: Path) -> None:
    fit(tmp_path / "one", threads=1)
    fit(tmp_path / "two", threads=3)
    with ThreadPoolExecutor(2) as pool:
        ranks = [
            pool.submit(fit, tmp_path / "three", threads=1, rank=rank, world_size=2, patience=60) for rank in (0, 1)
        ]
        results = [rank.result() for rank in ranks]
    assert isinstance(results[0], Zoo)
    assert results[1] is None
    samples = load_digits(limit=50)
    odd = FitOptions(steps=4, lr=0.02, views=2, psnr=None, group=3)
    fit_zoo(tmp_path / "four", samples, ARCHITECTURE, odd)
    for name in ("two", "three", "four"):
        assert content(tmp_path / name) == content(tmp_path / "one")


def test_a_finished_zoo_is_opened_again(tmp_path: Path) -> None:
    fit(tmp_path / "zoo")
    before = (tmp_path / "zoo" / "zoo.json").stat().st_mtime_ns
    assert isinstance(fit(tmp_path / "zoo"), Zoo)
    assert (tmp_path / "zoo" / "zoo.json").stat().st_mtime_ns == before


def main() -> None:
    """Fits the zoo of these tests at the path on the command line."""
    fit_job.PART = 16
    fit(Path(sys.argv[1]), threads=1)


@pytest.mark.parametrize("number", [signal.SIGKILL, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_a_stopped_fit_goes_on_to_the_same_bits(tmp_path: Path, number: signal.Signals) -> None:
    fit(tmp_path / "whole")
    parts = tmp_path / "zoo.partial" / "parts"
    child = start_until("part-*", "tests.zoo.test_fit_job", str(tmp_path / "zoo"), times=3, cwd=ROOT)
    child.send_signal(number)
    child.communicate()
    done = {file.name: file.stat().st_mtime_ns for file in parts.glob("*.safetensors")}
    assert 3 <= len(done) < 7
    with pytest.raises(ZooError) as caught:
        Zoo.open(tmp_path / "zoo")
    assert str(caught.value) == (
        f"{tmp_path / 'zoo'}: not finished; run the same `graphws zoo fit` again to go on where it stopped"
    )
    states: list[Progress] = []
    kept = []

    def watch(state: Progress) -> None:
        states.append(state)
        if len(states) == 1:
            kept.append({file.name: file.stat().st_mtime_ns for file in parts.glob("*.safetensors")})

    fit(tmp_path / "zoo", progress=watch)
    assert kept == [done]
    assert states[0].done == states[0].kept == 16 * len(done)
    assert states[-1].done == states[-1].total == 100
    assert content(tmp_path / "zoo") == content(tmp_path / "whole")


def test_damaged_parts_are_fitted_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fit(tmp_path / "whole")
    with monkeypatch.context() as patch:
        patch.setattr(fit_job._Job, "finish", lambda self: sys.exit("stopped"))
        with pytest.raises(SystemExit):
            fit(tmp_path / "zoo")
    part = tmp_path / "zoo.partial" / "parts" / "part-000002.safetensors"
    part.write_bytes(part.read_bytes()[:-100])
    fit(tmp_path / "zoo")
    assert content(tmp_path / "zoo") == content(tmp_path / "whole")


def test_a_fit_with_an_offset_goes_on_to_the_same_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    architecture = replace(ARCHITECTURE, first="hidden", offset=0.5)
    options = replace(OPTIONS, weight_decay=1e-3)

    def fit(name: str) -> Zoo | None:
        return fit_zoo(tmp_path / name, load_digits(limit=50), architecture, options)

    fit("whole")
    with monkeypatch.context() as patch:
        patch.setattr(fit_job._Job, "finish", lambda self: sys.exit("stopped"))
        with pytest.raises(SystemExit):
            fit("zoo")
    for part in (2, 3):
        (tmp_path / "zoo.partial" / "parts" / f"part-{part:06d}.safetensors").unlink()
    zoo = fit("zoo")
    assert zoo is not None
    assert content(tmp_path / "zoo") == content(tmp_path / "whole")
    samples = load_digits(limit=50)
    loss = (reconstruct(zoo.weights(), (8, 8)).flatten(1, 2) - samples.targets(zoo.table["sample"])).square()
    assert np.allclose(loss.mean(dim=(1, 2)).numpy(), zoo.table["loss"], rtol=1e-4)
    for asked, found, wanted in ((architecture, "0.5", "0.25"), (ARCHITECTURE, "'hidden'", "not set")):
        name = "offset" if asked.offset else "first"
        other = replace(asked, offset=0.25) if asked.offset else asked
        with pytest.raises(ZooError) as caught:
            fit_zoo(tmp_path / "zoo", samples, other, options)
        assert f"(architecture.{name}: {found} there, {wanted} asked for)" in str(caught.value)


@pytest.mark.parametrize("victim", ["weights-00000.safetensors", "table.parquet", "zoo.json"])
def test_stopped_while_finishing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, victim: str) -> None:
    fit(tmp_path / "whole")

    def stop(source: object, target: object) -> None:
        if Path(str(target)).name == victim:
            raise KeyboardInterrupt
        replace(source, target)  # type: ignore[arg-type]

    replace = os.replace
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", stop)
        with pytest.raises(KeyboardInterrupt):
            fit(tmp_path / "zoo")
    with pytest.raises(ZooError):
        Zoo.open(tmp_path / "zoo")
    with pytest.raises(ZooError) as caught:
        Zoo.open(tmp_path / "zoo.partial")
    assert str(caught.value) == (
        f"{tmp_path / 'zoo.partial'}: an unfinished fit; run the same `graphws zoo fit` again to go on where it stopped"
    )
    fit(tmp_path / "zoo")
    assert content(tmp_path / "zoo") == content(tmp_path / "whole")


def test_stopped_before_the_last_rename(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fit(tmp_path / "whole")
    with monkeypatch.context() as patch:
        patch.setattr("graphws.zoo.writer.os.rename", lambda source, target: sys.exit("stopped"))
        with pytest.raises(SystemExit):
            fit(tmp_path / "zoo")
    fit(tmp_path / "zoo")
    assert content(tmp_path / "zoo") == content(tmp_path / "whole")


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fit(tmp_path / "whole")
    calls = []

    def fsync(descriptor: int) -> None:
        calls.extend([descriptor] if stat.S_ISREG(os.fstat(descriptor).st_mode) else [])
        if len(calls) == 4:
            raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        with pytest.raises(ZooError) as caught:
            fit(tmp_path / "zoo", threads=1)
    assert str(caught.value) == (
        f"cannot write {tmp_path / 'zoo.partial' / 'parts' / 'part-000002.safetensors'}: the disk is full; "
        "free some space and run the same command again"
    )
    assert not list((tmp_path / "zoo.partial").rglob("*.tmp"))
    fit(tmp_path / "zoo")
    assert content(tmp_path / "zoo") == content(tmp_path / "whole")


def test_progress_is_told_in_order(tmp_path: Path) -> None:
    states: list[Progress] = []
    fit(tmp_path / "zoo", progress=states.append)
    done = [state.done for state in states]
    assert done == sorted(done)
    assert (done[0], done[-1]) == (0, 100)
    assert not states[0].figures
    assert states[-1].figures["psnr"] > 0


def test_threads_put_the_setting_back(tmp_path: Path) -> None:
    before = torch.get_num_threads()
    fit(tmp_path / "zoo", threads=2)
    assert torch.get_num_threads() == before


def test_names_that_are_taken(tmp_path: Path) -> None:
    fit(tmp_path / "zoo")
    samples = load_digits(limit=50)
    with pytest.raises(ZooError) as caught:
        fit_zoo(tmp_path / "zoo", samples, ARCHITECTURE, FitOptions(steps=5, lr=0.02, views=2, psnr=None))
    assert str(caught.value) == (
        f"{tmp_path / 'zoo'}: exists already, made otherwise (options.steps: 4 there, 5 asked for); "
        "remove it, or give another name"
    )
    (tmp_path / "other.partial").mkdir()
    note = json.loads(json.dumps(Zoo.open(tmp_path / "zoo").provenance["fit"]))
    note["architecture"]["omega"] = 30.0
    (tmp_path / "other.partial" / "fit.json").write_text(json.dumps(note))
    with pytest.raises(ZooError) as caught:
        fit(tmp_path / "other")
    assert str(caught.value) == (
        f"{tmp_path / 'other.partial'}: an unfinished fit with other settings (architecture.omega: 30.0 there, "
        "5.0 asked for); go on with those, or remove the folder"
    )


def test_wrong_requests(tmp_path: Path) -> None:
    samples = load_digits(limit=50)
    with pytest.raises(ZooError) as caught:
        fit_zoo(tmp_path / "zoo", samples, Architecture((2, 4, 3)), OPTIONS)
    assert str(caught.value) == (
        "source 'digits' has 2 coordinates and 1 channels, the architecture 2 inputs and 3 outputs"
    )
    with pytest.raises(ZooError) as caught:
        fit(tmp_path / "zoo", rank=2, world_size=2)
    assert str(caught.value) == "rank 2 of 2 processes: ranks count from 0"
    with pytest.raises(ZooError) as caught:
        fit(tmp_path / "zoo", rank=0, world_size=2, patience=0.0)
    assert str(caught.value) == (
        f"{tmp_path / 'zoo.partial'}: 3 parts of other ranks are missing and none has come for 0 s; "
        "run the same command again to fit what is missing"
    )


def test_two_fits_at_once(tmp_path: Path) -> None:
    with building(tmp_path / "zoo"), pytest.raises(ZooError) as caught:
        fit(tmp_path / "zoo")
    assert str(caught.value) == (
        f"another process is at work in {tmp_path / 'zoo.partial'}; wait for it, or give another name"
    )
    assert not list(tmp_path.iterdir()), "nothing was built"
    assert fit(tmp_path / "zoo") is not None
    assert [path.name for path in tmp_path.iterdir()] == ["zoo"]
    assert not list((tmp_path / "zoo").glob("*.lock"))


def test_what_a_killed_fit_left_is_swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = tmp_path / "zoo.partial" / "parts"
    parts.mkdir(parents=True)
    stray = parts / ".part-000000.safetensors.0123456789ab.tmp"
    stray.write_bytes(b"half")
    with building(tmp_path / "zoo"):
        assert not stray.exists()
        assert parts.exists()


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(path.read_bytes()[:-9])])
def test_parts_of_nobody_knows_what_are_not_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: Callable[[Path], object]
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(fit_job._Job, "finish", lambda self: sys.exit("stopped"))
        with pytest.raises(SystemExit):
            fit(tmp_path / "zoo")
    folder = tmp_path / "zoo.partial"
    damage(folder / "fit.json")
    with pytest.raises(ZooError) as caught:
        fit(tmp_path / "zoo")
    assert str(caught.value).startswith(f"{folder / 'fit.json'}: ")
    assert str(caught.value).endswith(f"; remove {folder} and run the same command again")
    shutil.rmtree(folder)
    assert fit(tmp_path / "zoo") is not None


@pytest.mark.parametrize("name", ["zoo.json", "graph.json", "table.parquet", "weights-00000.safetensors"])
@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(path.read_bytes()[:-9])])
def test_a_damaged_zoo_is_named_with_what_heals_it(tmp_path: Path, name: str, damage: Callable[[Path], object]) -> None:
    fit(tmp_path / "zoo", count=20)
    whole = content(tmp_path / "zoo")
    damage(tmp_path / "zoo" / name)
    with pytest.raises(ZooError) as caught:
        fit(tmp_path / "zoo", count=20)
    assert str(caught.value).endswith(f"; remove {tmp_path / 'zoo'} and run the same command again")
    assert name in str(caught.value)
    shutil.rmtree(tmp_path / "zoo")
    fit(tmp_path / "zoo", count=20)
    assert content(tmp_path / "zoo") == whole


if __name__ == "__main__":
    main()


def test_what_no_zoo_can_hold_is_refused_before_the_first_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SignalFitting, "fit", lambda *_: pytest.fail("a network was fitted"))
    samples = load_digits(limit=50)
    mixed = replace(samples, table={"label": np.array(["a", 1] * 25, dtype=object)})
    with pytest.raises(ZooError) as caught:
        fit_zoo(tmp_path / "zoo", mixed, ARCHITECTURE, OPTIONS)
    assert str(caught.value) == "the column 'label' mixes text with int; numbers or text are allowed"
    assert not [*tmp_path.iterdir()]


def test_a_disk_needs_room_for_what_is_still_to_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(fit_job, "check_place", lambda path, needed, kind: asked.append(needed))
    fitting = SignalFitting(load_digits(limit=50), ARCHITECTURE, OPTIONS, SplitOptions())
    check_fit(tmp_path / "zoo", fitting)
    networks = 4 * 100 * fitting.graph.numel
    assert asked == [2 * networks]
    part = tmp_path / "zoo.partial" / "parts" / "part-000000.safetensors"
    part.parent.mkdir(parents=True)
    part.write_bytes(bytes(1000))
    monkeypatch.setattr(fit_job._Job, "agree", lambda job: None)
    check_fit(tmp_path / "zoo", fitting)
    assert asked[1] == 2 * networks - 1000
