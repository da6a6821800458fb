"""A trained model as one file that PyTorch alone loads (`torch.export`).

The program takes state dicts, stacked: for each key of the networks' own state dict a tensor (networks, *shape).  It
fixes the gauge, scales, runs the model and gives its answer in the units of the target, for any number of networks.
"""

from __future__ import annotations

import copy
import io
import json
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.export import Dim

from graphws.errors import GraphwsError, UsageError, nearest
from graphws.graph import NetworkGraph, Weights
from graphws.runtime.files import write_bytes
from graphws.runtime.prediction import Run
from graphws.runtime.trained_model import TrainedModel

SUFFIX = ".pt2"
FACTS = "graphws.json"
"""The extra file inside: keys and shapes that the program takes, in order, and what its answer is."""
Change = Callable[[Tensor, Tensor, Tensor], Tensor]
EXAMPLES = 3
"""Networks that the model is traced with; 1 would be taken for a constant."""


class Program(nn.Module):
    """What is exported: from stacked state dicts to answers.

    Args:
        run: The run.
        graph: Of the networks that come.
        name: Of a trained model of the run; its own where None.

    Shapes:
        {key: (batch, *shape)} -> (batch, outputs) in the units of the target, the probability of each class, or
        {key: (batch, *shape)} where the answer is a network; {key: (batch, networks, *shape)} where it is several.
    """

    def __init__(self, run: Run, graph: NetworkGraph, name: str | None) -> None:
        super().__init__()
        self.graph, self.model = graph, _Exportable(run.model(name), graph)

    def forward(self, state: dict[str, Tensor]) -> Tensor | dict[str, Tensor]:
        """The answers."""
        found = self.model(self._weights(state))
        if isinstance(found, Tensor):
            return found
        networks, count = self._state(found), self.model.answers
        return {key: x.unflatten(0, (-1, count)) for key, x in networks.items()} if count > 1 else networks

    def _weights(self, state: dict[str, Tensor]) -> Weights:
        tensors = {}
        for parameter in self.graph.parameters:
            storage = parameter.storage
            tensor = state[parameter.name if storage is None else storage.key].float()
            if storage is not None:
                tensor = storage.ordered(tensor.reshape(-1, *storage.shape))
            if storage is not None and storage.block is not None:
                tensor = tensor.reshape(-1, *storage.seen)[(slice(None), *storage.index)]
            tensors[parameter.name] = tensor.reshape(-1, *self.graph.shape(parameter.name))
        return Weights(self.graph, tensors)

    def _state(self, weights: Weights) -> dict[str, Tensor]:
        state: dict[str, Tensor] = {}
        for parameter in self.graph.parameters:
            tensor, storage = weights[parameter.name], parameter.storage
            if storage is None or storage.block is None:
                shape = self.graph.shape(parameter.name) if storage is None else storage.shape
                state[parameter.name if storage is None else storage.key] = tensor.reshape(-1, *shape)
                continue
            whole = state.get(storage.key)
            if whole is None:
                whole = tensor.new_zeros(tensor.shape[0], *storage.seen)
            whole = whole.reshape(-1, *storage.seen).clone()
            whole[(slice(None), *storage.index)] = tensor.reshape(-1, *storage.block_shape)
            state[storage.key] = whole.reshape(-1, *storage.shape)
        for storage in {p.storage.key: p.storage for p in self.graph.parameters if p.storage}.values():
            if storage.orders:
                state[storage.key] = storage.restored(state[storage.key])
        return state


class _Exportable(TrainedModel):
    """A trained model whose units are buffers, which a program can hold, without kernels of our own, which it cannot.

    Args:
        model: The model.
        graph: Of the networks that come.
    """

    def __init__(self, model: TrainedModel, graph: NetworkGraph) -> None:
        super().__init__(copy.deepcopy(model.bare).cpu().eval(), model.section, model.prepared, model.name)
        for module in self.bare.modules():
            if hasattr(module, "fused"):
                module.fused = False  # type: ignore[assignment]
        self.task(graph)  # made before the program is traced
        scale = self.prepared.scale(self.section)
        for number, parameter in enumerate(graph.parameters):
            if (moments := scale.moments(graph, parameter.name, torch.zeros(()))) is not None:
                shift, factor = moments
                self.register_buffer(
                    f"shift{number}", (torch.zeros_like(factor) if shift is None else shift).contiguous()
                )
                self.register_buffer(f"factor{number}", factor.contiguous())

    def scaled(self, weights: Weights) -> Weights:
        """As the buffers say."""
        return self._each(weights, lambda tensor, shift, factor: (tensor - shift) / factor)

    def unscaled(self, weights: Weights) -> Weights:
        """The inverse."""
        return self._each(weights, lambda tensor, shift, factor: tensor * factor + shift)

    def _each(self, weights: Weights, change: Change) -> Weights:
        if self.prepared.scale(self.section).change is None:
            return weights
        found = {
            name: change(tensor, getattr(self, f"shift{number}"), getattr(self, f"factor{number}"))
            for number, (name, tensor) in enumerate(weights.items())
        }
        return Weights(weights.graph, found)


def export_model(
    run: Run, path: Path, model: str | None = None, architecture: str | None = None, batch: int | None = None
) -> dict[str, tuple[int, ...]]:
    """Write a model of a run as a program.

    Args:
        run: The run.
        path: A ``.pt2`` file.
        model: Which model; the run's own where None.
        architecture: For which of the run's architectures; a program takes networks of one.
        batch: How many networks the program takes at once; any number where None.

    Returns:
        dict[str, tuple[int, ...]]: The keys that the program takes, with their shapes, in order.

    Raises:
        UsageError: On another suffix, an architecture that is unknown or not named among several, a model that sees
            networks aligned, and one that PyTorch cannot export.
        RunError: When the file cannot be written.
    """
    if path.suffix != SUFFIX:
        raise UsageError(f"{path}: an exported model ends in {SUFFIX}; name it {path.stem}{SUFFIX}")
    graph = _graph(run, architecture)
    run.section(model)
    if run.prepared_for(model).reference is not None:
        raise UsageError(
            "this model sees networks aligned to a reference (preprocess.align), and no exported program can hold the "
            f"assignment problems of that; ask it with: graphws predict {run.folder.path} NETWORKS"
        )
    program = Program(run, graph, model).eval()
    shapes = graph.stored_shapes()
    count = EXAMPLES if batch is None else batch
    draw = torch.Generator().manual_seed(0)
    example = {key: torch.randn(count, *shape, generator=draw) for key, shape in shapes.items()}
    dynamic = None if batch is not None else ({key: {0: Dim.DYNAMIC} for key in example},)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            exported = torch.export.export(program, (example,), dynamic_shapes=dynamic, strict=False)
    except GraphwsError:
        raise
    except Exception as error:  # PyTorch has no one kind for what it cannot export
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        cure = "; try a fixed number of networks: --batch 1" if batch is None else ""
        raise UsageError(f"PyTorch cannot export this model: {reason}{cure}") from error
    facts = {
        "keys": {key: list(shape) for key, shape in shapes.items()},
        "classes": None if run.prepared.classes is None else list(run.prepared.classes),
        "batch": "any" if batch is None else batch,
    }
    content = io.BytesIO()
    torch.export.save(exported, content, extra_files={FACTS: json.dumps(facts)})
    write_bytes(path, content.getvalue())
    return shapes


def _graph(run: Run, architecture: str | None) -> NetworkGraph:
    names, graphs = run.prepared.names, run.prepared.graphs
    some = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
    if architecture is None:
        if len(graphs) > 1:
            raise UsageError(
                f"the run has {len(graphs)} architectures, and an exported model takes one; choose with "
                f"--architecture NAME: {some}"
            )
        return graphs[0]
    if architecture not in names:
        raise UsageError(f"no architecture {architecture!r}; the run has {some}" + nearest(architecture, names))
    return graphs[names.index(architecture)]
