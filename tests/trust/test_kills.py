"""The script of kills counts what is healed, and does not take a loss for it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from graphws.files import sweep, whole_file
from scripts.trust import kills
from scripts.trust.forked import run
from scripts.trust.kills import CODE, Scene, content, difference, plan, stage, tried

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="forks, and asks /proc for the names of open files"),
    pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning"),
]


def _nothing(place: Path) -> None:
    pass


def _whole() -> int:
    """Two files, each whole or absent."""
    sweep(Path())
    for name in ("a", "b"):
        if not Path(name).exists():
            with whole_file(Path(name)) as file:
                file.write(b"0123456789")
    return 0


def _half() -> int:
    """A file that is taken for whole as soon as it is there."""
    if not Path("a").exists():
        with open("a", "wb") as file:
            file.write(b"0123456789")
            file.flush()
            os.fsync(file.fileno())
    return 0


def _twice() -> int:
    """A line at every call."""
    with open("a", "a") as file:
        file.write("x")
        file.flush()
        os.fsync(file.fileno())
    return 0


def _strays() -> int:
    """A file for each process, which nobody removes."""
    mine = Path(f"{os.getpid()}.tmp")
    mine.touch()
    os.replace(mine, "a")
    return 0


def _refuses() -> int:
    """Does not go on where it was stopped."""
    if Path("a").exists():
        print("exists already")
        return 1
    Path("a").mkdir()
    Path("a", "b").touch()
    return 0


def test_what_heals_is_counted_at_every_operation(tmp_path: Path) -> None:
    columns, [row] = tried([Scene("whole", _whole, _nothing)], 20, 1, tmp_path.resolve())
    assert columns == ["command", "kills", "file operations covered", "healed exactly", "lost"]
    name, killed, covered, healed, lost = row
    assert (name, covered, lost) == ("whole", "10 of 10", 0)
    assert 10 <= healed <= killed


@pytest.mark.parametrize(
    ("command", "fault"),
    [
        (_half, "a differs"),
        (_twice, "a differs"),
        (_strays, ".tmp is left over"),
        (_refuses, "code 1: ['exists already']"),
    ],
)
def test_what_is_lost_is_counted(
    tmp_path: Path, command: Callable[[], int], fault: str, capfd: pytest.CaptureFixture[str]
) -> None:
    _, [row] = tried([Scene("bad", command, _nothing)], 8, 1, tmp_path.resolve())
    assert isinstance(row[-1], int)
    assert row[-1] >= 1
    assert fault in capfd.readouterr().err


def test_a_command_that_never_leaves_the_same_files_is_refused(tmp_path: Path) -> None:
    def differs() -> int:
        Path("a").write_text(str(os.getpid()))
        return 0

    with pytest.raises(RuntimeError, match=r"^differs: two runs that nobody killed: a differs$"):
        stage(Scene("differs", differs, _nothing), tmp_path.resolve())
    with pytest.raises(RuntimeError, match=r"^ended with 70:\n(.*\n)*ZeroDivisionError"):
        stage(Scene("fails", lambda: 1 // 0, _nothing), tmp_path.resolve())


def test_a_process_is_killed_before_the_operation_that_was_asked_for(tmp_path: Path) -> None:
    whole = run(_whole, tmp_path)
    assert whole.code == 0
    assert [point.split()[0] for point in whole.points] == ["open", "fcntl.flock", "half", "fsync", "rename"] * 2
    for number, seen in ((0, []), (1, [0]), (3, [10]), (2, [5]), (5, [10])):
        place = tmp_path / str(number)
        place.mkdir()
        assert run(_whole, place, kill=number).code == CODE
        assert [path.stat().st_size for path in place.iterdir()] == seen
    assert os.path.exists(tmp_path / "5" / "a")


def test_a_process_is_killed_after_a_time(tmp_path: Path) -> None:
    def sleeps() -> int:
        Path("begun").touch()
        import time

        time.sleep(60)
        return 0

    assert run(sleeps, tmp_path, after=0.2).code == CODE


def test_seconds_and_the_place_are_no_content(tmp_path: Path) -> None:
    for name, seconds, value in (("a", 1, 1), ("b", 2, 1), ("c", 2, 3)):
        place = tmp_path / name
        place.mkdir()
        (place / "x.json").write_text(f'{{"rows": [{{"seconds": {seconds}, "loss": {value}}}], "at": "{place}/y"}}')
        (place / "x.csv").write_text(f"loss,seconds\n{value},{seconds}\n")
    a, b, c = (content(tmp_path / name) for name in "abc")
    assert difference(a, b) == ""
    assert difference(b, c) == "x.csv differs"
    assert difference({**a, "y": b""}, b) == "y is left over"
    assert difference(a, {**b, "y": b""}) == "y is missing"


def test_kills_are_spread_over_the_points() -> None:
    found = plan([100, 3], 40)
    assert len(found) == 40
    points = [kill.point for kill in found if kill.scene == 0]
    assert sum(point is None for point in points) == 5
    assert [point for point in points if point is not None] == [k * 100 // 15 for k in range(15)]
    assert [kill.point for kill in found if kill.scene == 1][:4] == [0, 1, 2, None]
    assert any(kill.second for kill in found)


def test_the_part_tries_each_command_that_writes() -> None:
    assert [scene.name for scene in kills.scenes()] == [
        "zoo fit",
        "zoo pack",
        "zoo unpack",
        "run",
        "train",
        "run, an experiment",
        "convert -o",
        "reduce -o",
    ]
