"""Files that went wrong at random: every reader ends, with a result or with an error for readers.

The same inputs on every run, the first few of those of ``python -m scripts.trust fuzz``; what that found is in
`test_found.py`.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

pytest.importorskip("onnx")
pytest.importorskip("transformers")

from tests.fuzz.judge import Place, judged
from tests.fuzz.targets import TARGETS, Target


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_every_input_is_taken_or_refused(tmp_path: Path, target: Target) -> None:
    (tmp_path / "seeds").mkdir()
    (tmp_path / "input").mkdir()
    seeds, place = target.seeds(tmp_path / "seeds"), Place(tmp_path / "input")
    for files in seeds:
        place.put(files)
        found = judged(lambda: target.door(place.folder), place.folder)
        assert found.outcome == "taken", found.reason
    outcomes: Counter[str] = Counter()
    for number in range(target.quick):
        place.put(target.made(number, seeds))
        found = judged(lambda: target.door(place.folder), place.folder)
        assert found.outcome != "crashed", f"{target.name} {number}: {found.reason}"
        outcomes[found.outcome] += 1
    assert outcomes["refused"] > target.quick // 5, "the edits reach what is checked"


def test_shares_sum_to_a_million() -> None:
    assert sum(target.share for target in TARGETS) == 1_000_000
    assert len({target.name for target in TARGETS}) == len(TARGETS)


def test_an_input_is_known_by_its_number(tmp_path: Path) -> None:
    for target in TARGETS[:4]:
        folder = tmp_path / target.name
        folder.mkdir()
        seeds = target.seeds(folder)
        assert target.made(7, seeds) == target.made(7, seeds)
        assert len({str(target.made(number, seeds)) for number in range(20)}) > 10
