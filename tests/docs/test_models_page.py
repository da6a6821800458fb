"""The page on models: it has every kind and the size of each, its comparison is valid, its links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

from graphws.models import RowTokens
from graphws.operations import mlp_graph
from graphws.spec import parse_spec
from graphws.spec.model_kinds import MODELS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "models.md"
TEXT = PAGE.read_text(encoding="utf-8")


def test_every_kind_stands_there_with_what_sizes_it() -> None:
    rows = re.findall(r"^\| `([\w-]+)`.*\| (?:`(\w+)`|–) \|$", TEXT, re.MULTILINE)
    found: dict[str, set[str]] = {}
    for kind, key in rows:
        found.setdefault(kind, set()).add(key)
    assert found == {kind: {section.size_key} for kind, section in MODELS.table().items()}  # type: ignore[attr-defined]


def test_its_comparison_is_valid() -> None:
    (block,) = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
    spec = parse_spec(f"graphws: 1\nmodel: {{kind: dwsnet}}\n{block}")
    assert [baseline.model.kind for baseline in spec.compare] == ["rows", "transformer", "gnn"]
    assert all(baseline.match_parameters for baseline in spec.compare)
    train = spec.compare[0].train
    assert train is not None
    assert train.optimizer.grid == (5e-3, 1e-3, 5e-4, 1e-4)


def test_its_figures_are_right() -> None:
    tokens = RowTokens(mlp_graph([2, 32, 32, 1]))
    assert "an MLP 2-32-32-1 has 65 rows of 33" in TEXT.replace("\n", " ")
    assert (tokens.count, tokens.length) == (65, 33)


def test_links_lead_somewhere() -> None:
    targets = [target for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", TEXT) if "://" not in target]
    assert len(targets) >= 3
    assert not [target for target in targets if not (PAGE.parent / target).exists()]
