"""What commands leave alone: libraries that take a second and that only some of the work needs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from graphws.graph import Weights
from graphws.operations import mlp_graph
from graphws.zoo.writer import finish, partial_folder

ASK = """
import json, sys
from graphws.cli import main
try:
    main()
except SystemExit as end:
    code = end.code or 0
heavy = ("sklearn", "matplotlib", "lightning", "torchmetrics", "torch_geometric", "transformers", "onnx", "torch")
with open("imports.json", "w") as file:
    json.dump([code, [name for name in heavy if name in sys.modules]], file)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A zoo and a spec that reads it."""
    place = tmp_path_factory.mktemp("imports")
    partial_folder(place / "zoo").mkdir()
    graph = mlp_graph([2, 3, 1])
    weights = Weights.unflatten(graph, torch.zeros(4, graph.numel))
    finish(
        place / "zoo", {"mlp": graph}, lambda _, low, high: weights.select(slice(low, high)), {"n": np.arange(4)}, {}
    )
    (place / "spec.yaml").write_text(
        "graphws: 1\nname: small\ninput: {kind: zoo, path: zoo}\nmodel: {kind: dwsnet, layers: 2, channels: 4}\n"
        "head: {kind: invariant, outputs: 1}\ntask: {kind: regression, target: n}\n"
    )
    return place


@pytest.mark.parametrize(
    ("words", "allowed"),
    [
        (("--help",), set()),
        (("zoo", "info", "--help"), set()),
        # it asks the task for its metrics, whose library brings the other two where they are installed
        (("check", "spec.yaml"), {"torch", "torchmetrics", "matplotlib", "transformers"}),
        (("zoo", "info", "zoo"), {"torch"}),
        (("inspect", "zoo"), {"torch"}),
    ],
)
def test_a_command_imports_what_it_needs(folder: Path, words: tuple[str, ...], allowed: set[str]) -> None:
    done = subprocess.run([sys.executable, "-c", ASK, *words], cwd=folder, capture_output=True, text=True)
    code, found = json.loads((folder / "imports.json").read_text())
    assert code == 0, done.stderr
    assert set(found) <= allowed


def test_the_list_names_what_is_imported(folder: Path) -> None:
    """The one loader that needs scikit-learn imports it."""
    text = ASK.replace("from graphws.cli import main", "from graphws.zoo import load_digits as main")
    subprocess.run([sys.executable, "-c", f"code = 0\n{text}"], cwd=folder, check=True)
    assert "sklearn" in json.loads((folder / "imports.json").read_text())[1]
