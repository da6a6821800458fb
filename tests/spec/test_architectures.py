"""Specs that read zoos of several architectures."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from graphws.cli import app
from graphws.errors import UsageError
from graphws.operations import mlp_graph
from graphws.spec import InvalidSpec, MlpModel, load_spec
from graphws.spec.heads import InvariantHead
from tests.zoo.test_several_graphs import make

SPEC = """graphws: 1
input:
  kind: zoo
  path: {zoo}
model:
  kind: dwsnet
  share: none
head: {{kind: invariant, outputs: 1}}
task: {{kind: regression, target: label}}
compare:
- name: flat
  model: {{kind: mlp}}
"""


def test_models_that_cannot_read_them_are_located(tmp_path: Path) -> None:
    make(tmp_path / "zoo")
    path = tmp_path / "a.yaml"
    path.write_text(SPEC.format(zoo=tmp_path / "zoo"))
    with pytest.raises(InvalidSpec) as caught:
        load_spec(path)
    lines = str(caught.value).splitlines()
    assert lines[0] == (
        f"{path}:7:10: the networks have 3 architectures, and model learns weights for one; "
        "add `share: role`, so that they are shared by role"
    )
    assert lines[3] == (
        f"{path}:12:17: compare[0].model: the networks have 3 architectures, and a model of the kind 'mlp' reads one; "
        "take `kind: dwsnet` with `share: role`"
    )


def test_models_that_share_by_role_are_fine(tmp_path: Path) -> None:
    make(tmp_path / "zoo")
    path = tmp_path / "a.yaml"
    path.write_text(SPEC.format(zoo=tmp_path / "zoo").replace("share: none", "share: role").split("compare:")[0])
    spec = load_spec(path)
    assert spec.input is not None
    assert len(spec.input.graphs(None)) == 3


def test_a_zoo_that_is_not_there_yet_says_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(SPEC.format(zoo=tmp_path / "zoo"))
    assert load_spec(path).model is not None


def test_the_flat_baseline_reads_one_architecture() -> None:
    graphs = [mlp_graph([2, 4, 1]), mlp_graph([2, 5, 1])]
    with pytest.raises(UsageError, match="a model of the kind 'mlp' reads networks of one architecture, these have 2"):
        MlpModel(kind="mlp").build(graphs, InvariantHead(kind="invariant", outputs=1))


def test_explain_says_which_roles_the_architectures_have(tmp_path: Path) -> None:
    make(tmp_path / "zoo")
    path = tmp_path / "a.yaml"
    path.write_text(SPEC.format(zoo=tmp_path / "zoo").replace("share: none", "share: role").split("compare:")[0])
    result = CliRunner().invoke(app, ["explain", str(path)])
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    start = lines.index("3 architectures; layers are shown on the first, counted over all")
    assert lines[start + 1 : start + 6] == [
        "role: weight.first in 3 of 3, 2 free entries",
        "role: bias.hidden in 3 of 3",
        "role: weight.last in 3 of 3",
        "role: bias.last in 3 of 3",
        "role: weight.hidden in 1 of 3",
    ]
