"""The page on experiments: its links lead somewhere, its commands are valid, its specs are shipped."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

from graphws.spec import load_spec, shipped_specs

PAGE = Path(__file__).resolve().parents[2] / "docs" / "experiments.md"
TEXT = PAGE.read_text(encoding="utf-8")


def test_links_lead_somewhere() -> None:
    targets = [target for target in re.findall(r"\]\(([^)#]+)\)", TEXT) if "://" not in target]
    assert len(targets) >= 10
    assert not [target for target in targets if not (PAGE.parent / target).exists()]


def test_every_spec_of_an_experiment_is_on_the_page() -> None:
    linked = set(re.findall(r"\(\.\./specs/(mirror-[a-z-]+)\.yaml\)", TEXT))
    assert linked == {name for name in shipped_specs() if name.startswith("mirror-")}


def test_the_command_that_was_run_is_valid_and_runs_every_figure() -> None:
    (block,) = re.findall(r"```\n(graphws results .*?)```", TEXT, re.DOTALL)
    words = shlex.split(block.replace("\\\n", " "))
    sets = [words[place + 1] for place, word in enumerate(words) if word == "--set"]
    names = [word for word in words if word.startswith("mirror-")]
    assert names == [
        name for name in re.findall(r"^\| \[`(mirror-[a-z-]+)`\]", TEXT, re.MULTILINE) if "digits" not in name
    ]
    for name in names:
        experiment = load_spec(name, sets, words[words.index("--scale") + 1]).experiment
        assert experiment is not None
        assert experiment.source.kind == "pictures"
        assert (experiment.train.steps, experiment.train.batch_size, experiment.train.lr) == (4000, 512, 2e-3)


def test_the_table_says_what_the_kept_runs_say() -> None:
    rows = re.findall(r"^\| `(mirror-[a-z-]+)` \|(.*)\|$", TEXT, re.MULTILINE)
    assert len(rows) == 5
    for name, row in rows:
        results = json.loads((PAGE.parent / "paper-i" / name / "results.json").read_text())
        score = (
            f"R² {results['test']['r2']:.3f}" if "r2" in results["test"] else f"{results['test']['accuracy']:.1%} right"
        )
        assert score.replace("%", " %") in row
        assert f"| {results['test']['equivariance']:.3f} |" in row
        counts = results["actions"]["layers"][0]["categories"].get("m")
        if "heads" not in name:
            kinds = ("self-symmetric", "mirrored", "mirrored+negated", "negated copy", "none")
            assert " / ".join(str(counts[kind]) for kind in kinds) in row
