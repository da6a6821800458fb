"""Layers that commute with relabelling, on graphs that no table of the papers covers.

    python examples/02_equivariant_layers.py [FOLDER]

Builds the full equivariant layer for an MLP, a convolution and an attention head, says how many independent maps each
has, checks that it commutes with the group, and draws the block matrix of each (explain-*.png).
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import torch

from graphws.graph import NetworkGraph, Parameter, Space
from graphws.layers import EquivariantLinear
from graphws.layers.explain import explain
from graphws.messages import expand_blocks
from graphws.operations import mlp_graph
from graphws.report.block_matrix import draw_block_matrix
from graphws.report.figures import png
from graphws.testing import check_equivariance

CONVOLUTION = NetworkGraph(
    (Space("image", 3, "free"), Space("channels", 16), Space("taps", 9, "free"), Space("classes", 10, "free")),
    (
        Parameter("kernel", "channels image* taps"),
        Parameter("shift", "channels", "bias"),
        Parameter("readout", "classes channels*"),
    ),
)
ATTENTION = NetworkGraph(
    (Space("stream", 8), Space("heads", 4), Space("dims", 6, "nested", "heads")),
    (Parameter("query", "dims stream*"), Parameter("key", "dims stream*"), Parameter("value", "dims stream*")),
)


def main(folder: Path) -> None:
    """Explains, checks and draws the layer of each graph."""
    folder.mkdir(parents=True, exist_ok=True)
    messages = expand_blocks(pool="mean")
    for name, graph in (("mlp", mlp_graph([2, 32, 32, 1])), ("convolution", CONVOLUTION), ("attention", ATTENTION)):
        explanation = explain(graph, messages)
        layer = EquivariantLinear(graph, 1, 1, messages).double()
        checked = check_equivariance(layer, graph, torch.Generator().manual_seed(0), channels=1)
        print(f"{name}: {explanation.parameters} parameters; {checked}")
        (folder / f"explain-{name}.png").write_bytes(png(draw_block_matrix(explanation)))
        print(f"drawn: {folder / f'explain-{name}.png'}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp(prefix="graphws-")))
