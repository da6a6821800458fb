"""The page on experiments: its links lead somewhere, its commands are valid, its specs are shipped."""

from __future__ import annotations

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


def test_the_command_that_was_run_is_valid_for_each_of_its_specs() -> None:
    (block,) = re.findall(r"```\n(graphws run NAME .*?)```", TEXT, re.DOTALL)
    words = shlex.split(block.replace("\\\n", " "))
    sets = [words[place + 1] for place, word in enumerate(words) if word == "--set"]
    for name in re.findall(r"^\| `(mirror-[a-z-]+)` \|", TEXT, re.MULTILINE):
        experiment = load_spec(name, sets).experiment
        assert experiment is not None
        assert experiment.source.kind == "pictures"
        assert (experiment.train.steps, experiment.train.batch_size, experiment.train.lr) == (4000, 512, 2e-3)
