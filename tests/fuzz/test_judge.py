"""The judge is judged: what is no result and no refusal is found."""

from __future__ import annotations

import resource
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from graphws.errors import DataError, GraphwsError, SpecError
from tests.fuzz import canary
from tests.fuzz.judge import LONGEST, MOST_LINES, Place, judged


def _raise(error: BaseException) -> None:
    raise error


class Raw(GraphwsError):
    """An error whose text is shown as it is."""

    def __str__(self) -> str:
        return str(self.args[0])


def test_results_and_refusals(tmp_path: Path) -> None:
    assert judged(lambda: 1, tmp_path).outcome == "taken"
    assert judged(lambda: _raise(DataError("x: cut off")), tmp_path).outcome == "refused"
    assert judged(lambda: _raise(SpecError("a\nb")), tmp_path).outcome == "refused"
    assert judged(lambda: (tmp_path / "new").write_bytes(b""), tmp_path).outcome == "taken"


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (KeyError("0"), "KeyError: '0'"),
        (RecursionError("deep"), "RecursionError: deep"),
        (MemoryError(), "MemoryError: "),
        (Raw("a\nb"), "a refusal of 2 lines"),
        (Raw("x" * (LONGEST + 1)), f"a refusal of {LONGEST + 1} characters"),
        (Raw("\x1b[2J"), r"a refusal that shows raw text: '\x1b[2J'"),
        (Raw(" "), "a refusal without a word"),
        (SpecError("a\n" * MOST_LINES), f"a refusal of {MOST_LINES + 1} lines"),
    ],
)
def test_crashes(tmp_path: Path, error: Exception, reason: str) -> None:
    found = judged(lambda: _raise(error), tmp_path)
    assert (found.outcome, found.reason) == ("crashed", reason)


def test_what_leaves_the_folder(tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    outside = tmp_path / "outside"
    for call in (
        lambda: outside.write_bytes(b""),
        lambda: (inside / ".." / "outside").open("ab").close(),
        lambda: (tmp_path / "folder").mkdir(),
        lambda: outside.unlink(),
    ):
        found = judged(call, inside)
        assert found.outcome == "crashed"
        assert " outside of the folder: " in found.reason
    found = judged(lambda: subprocess.run([sys.executable, "-c", ""], check=True), inside)
    assert found.reason == "starts something: subprocess.Popen"


def test_what_a_file_makes_run(tmp_path: Path) -> None:
    assert judged(canary.sing, tmp_path).reason == "ran what the file names"


def test_warnings_that_show_raw_text(tmp_path: Path) -> None:
    found = judged(lambda: warnings.warn("\x1b[2K", stacklevel=1), tmp_path)
    assert found.reason == r"a warning that shows raw text: '\x1b[2K'"
    assert judged(lambda: warnings.warn("plain", stacklevel=1), tmp_path).outcome == "taken"


def test_memory_out_of_proportion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.fuzz.judge.MOST_MEMORY", 1 << 20)
    held: list[bytes] = []
    room = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10  # a process only tells the most it ever held
    found = judged(lambda: held.append(b"x" * (room + (64 << 20))), tmp_path)
    assert found.reason.startswith("memory grew by")


def test_a_place_holds_one_input(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.put({"a": b"1", "b/c": b"2"})
    place.put({"a": b"3"})
    assert [(p.name, p.read_bytes()) for p in tmp_path.rglob("*") if p.is_file()] == [("a", b"3")]
