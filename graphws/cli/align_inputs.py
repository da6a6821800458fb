"""What ``graphws align`` reads: networks of one graph, and data with a way to run the networks on it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from graphws.errors import DataError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from graphws.align.evidence import Values
    from graphws.graph import Weights
    from graphws.operations.verify import Run


@dataclass(frozen=True)
class Data:
    """Points, and how networks are run on them; nothing where there are none.

    Attributes:
        inputs: The points, in float64.
        labels: Their classes, if there are any.
        run: Outputs of a network.
        values: What its spaces carry, for networks that convolve; None where `graphws.graph` knows it.
    """

    inputs: Tensor | None = None
    labels: Tensor | None = None
    run: Run | None = None
    values: Values | None = None


def read_networks(paths: Sequence[Path], activation: str | None, omega: float | None) -> list[Weights]:
    """The networks of some files, all of one graph.

    Raises:
        UsageError: Where a file holds no weights, or another architecture than the first.
    """
    networks = [_network(path, activation, omega) for path in paths]
    for path, other in zip(paths[1:], networks[1:], strict=True):
        if other.graph != networks[0].graph:
            raise UsageError(
                f"{paths[0].name} and {path.name} are of different architectures: {_difference(networks[0], other)}"
            )
    return networks


def read_data(path: Path, weights: Weights, option: str = "--data") -> Data:
    """The points of a file that an option names, for networks like `weights`.

    Raises:
        DataError: Where it holds no ``inputs``, or something besides ``labels``.
        UsageError: Where such networks cannot be run from their graph.
    """
    from graphws.actions.computation.features import why_not_analysed
    from graphws.actions.computation.values import outputs_on, values_on
    from graphws.actions.groups.placing import position_axes
    from graphws.checkpoints.state_dict import read_state_dict

    graph = weights.graph
    unable = why_not_analysed(graph)
    if unable is not None:
        raise UsageError(f"{option}: {unable}; in Python, give `align` a run function")
    tensors = read_state_dict(path)
    if "inputs" not in tensors or set(tensors) - {"inputs", "labels"}:
        raise DataError(
            f"{path.name} must hold `inputs` and may hold `labels`; it holds {', '.join(tensors) or 'nothing'}"
        )
    inputs, labels = tensors["inputs"].double(), tensors.get("labels")
    labels = None if labels is None else labels.long()
    points = inputs if position_axes(graph) else inputs.flatten(1)
    return Data(points, labels, outputs_on(points), values_on(points))


def points_to_learn_on(source: str, weights: Weights, shape: tuple[int, ...] | None) -> tuple[Tensor, Tensor | None]:
    """The points on which an alignment is refined, and their classes if there are any.

    Args:
        source: A file, as for `read_data`.
        weights: Networks like those that are aligned.
        shape: Of one input, where no file is read but noise is drawn, the same each time.
    """
    if shape is not None:
        import torch

        from graphws.align import noise_inputs

        return noise_inputs(shape, generator=torch.Generator().manual_seed(0)), None
    data = read_data(Path(source), weights, "--refine")
    assert data.inputs is not None
    return data.inputs, data.labels


def _network(path: Path, activation: str | None, omega: float | None) -> Weights:
    from graphws.converting import load_stated_network

    found = load_stated_network(path, activation=activation, omega=omega)
    if found.weights is None:
        raise UsageError(f"{path.name} is a graph without weights: there is nothing to align")
    return found.weights


def _difference(first: Weights, second: Weights) -> str:
    """The first parameter in which two graphs differ."""
    sides = [{p.name: f"{p} {tuple(w.graph.shape(p.name))}" for p in w.graph.parameters} for w in (first, second)]
    for name in [*sides[0], *sides[1]]:
        if sides[0].get(name) != sides[1].get(name):
            return f"{sides[0].get(name, f'no {name}')} against {sides[1].get(name, f'no {name}')}"
    return "their spaces or steps differ"
