"""Batch-norm statistics of merged networks, measured anew.

A norm with running statistics keeps mean and variance of what reached it in training.  The mean of two networks keeps
the means of those, which belong to neither network nor to their mean: merged neurons partly cancel, so that they vary
less than either parent's (Jordan et al. 2023, REPAIR).  Here the statistics of each norm become those of what reaches
it in the merged network, on given inputs, from the first norm to the last, each behind the norms that were done before.

>>> import torch
>>> from torch import nn
>>> from graphws.converting import convert
>>> inputs = 3 * torch.randn(40, 2)
>>> weights = convert(nn.Sequential(nn.BatchNorm1d(2), nn.Linear(2, 1)), inputs).weights
>>> measured = remeasure(weights, inputs)
>>> torch.allclose(measured["0.running_var"][0], inputs.var(0))
True
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from graphws.align.stored_entries import StoredEntries, batched, readers, single
from graphws.errors import DataError
from graphws.graph import NetworkGraph, Operation, Weights
from graphws.operations.plan import Context, Environment, Step, constants_on, steps_to, walk
from graphws.operations.runner import Inputs, named_inputs


@dataclass(frozen=True, eq=False)
class Norm:
    """A norm with running statistics that are parameters of the graph.

    Attributes:
        reads: Name of the value that it normalises.
        mean: Name of the operand that holds its means.
        variance: Name of the operand that holds its variances.
        of_samples: Statistics of each sample by itself, averaged over samples (an instance norm); else of all at once.
        means: Where its means are stored.
        variances: Where its variances are stored.
    """

    reads: str
    mean: str
    variance: str
    of_samples: bool
    means: StoredEntries
    variances: StoredEntries

    def measured(self, value: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and unbiased variance of each channel, which is axis 1 of a value; as PyTorch counts them in training.

        Raises:
            DataError: On a single number for each channel, which has no variance.
        """
        wide = value.to(torch.promote_types(value.dtype, torch.float32))
        axes = [k for k in range(wide.ndim) if k != 1 and not (self.of_samples and k == 0)]
        count = value.numel() // max(1, value.shape[1] * (value.shape[0] if self.of_samples else 1))
        if count < 2:
            raise DataError(
                f"{count} number{'' if count == 1 else 's'} for each channel of {self.reads}: statistics need two"
            )
        mean, variance = wide.mean(axes), wide.var(axes, unbiased=True)
        return (mean.mean(0), variance.mean(0)) if self.of_samples else (mean, variance)


@lru_cache(maxsize=64)
def running_norms(graph: NetworkGraph) -> Mapping[Operation, Norm]:
    """The norms with running statistics by their operations, in order: those that the outputs depend on."""
    found: dict[Operation, Norm] = {}
    for step in steps_to(graph, frozenset(graph.outputs), frozenset(graph.inputs)):
        norm = _norm(graph, step.operation)
        if norm is not None:
            found[step.operation] = norm
    return found


def unknown_norms(graph: NetworkGraph) -> int:
    """How many norms hold statistics that are no parameters of their own, so that they cannot be measured anew."""
    return sum(_statistics(step) is not None and step not in running_norms(graph) for step in graph.operations)


def other_buffers(graph: NetworkGraph) -> list[str]:
    """Those of `stored_buffers` that are no statistics of such norms."""
    norms = running_norms(graph).values()
    known = {name for norm in norms for entries in (norm.means, norm.variances) for name in entries.parameters}
    return [name for name in stored_buffers(graph) if name not in known]


def stored_buffers(graph: NetworkGraph) -> list[str]:
    """Names of stored tensors that are not trained; a mean averages them as any."""
    return [parameter.name for parameter in graph.parameters if parameter.kind == "buffer" and parameter.axes]


def remeasure(weights: Weights, inputs: Inputs) -> Weights:
    """The networks with the statistics of their norms measured anew.

    Law: run on the inputs, every norm reads values of the mean and the (unbiased) variance that it holds.  A norm that
    is used twice holds the mean of both, as in training.  Networks without such norms come back as they are.

    Args:
        weights: A batch of networks whose graph runs.
        inputs: Points for all of them, as for `graphws.operations.forward`: as many as will do to know a mean.

    Raises:
        GraphError: On a graph that does not run, or inputs that it does not know.
        DataError: On so few inputs that they have no variance.
    """
    if not running_norms(weights.graph):
        return weights
    return Weights.cat([_remeasured(weights.select([k]), inputs) for k in range(weights.batch)])


def walk_through(
    graph: NetworkGraph, tensors: Mapping[str, Tensor], inputs: Inputs, dtype: torch.dtype, device: torch.device
) -> Iterator[tuple[Step, Environment, Context]]:
    """Runs one network up to its outputs: after each step what is known, to be read and changed.

    Args:
        graph: A graph that runs.
        tensors: Its parameters, without an axis of networks.
        inputs: Points.
        dtype: Of the weights.
        device: Where they are.
    """
    given = {
        name: value.to(device, dtype) if value.is_floating_point() else value.to(device)
        for name, value in named_inputs(graph, inputs).items()
    }
    first = next(iter(given.values()))
    context = Context(int(first.shape[0]) if first.ndim else 1, dtype, device)
    values: Environment = {**constants_on(graph, context), **tensors, **given}
    for step in walk(graph, values, graph.outputs, given, context):
        yield step, values, context


def settle(norm: Norm, step: Step, values: Environment, context: Context) -> tuple[Tensor, Tensor]:
    """Gives a norm the statistics of what it reads, and runs it again; they come back."""
    mean, variance = norm.measured(values[norm.reads])
    for name, each in ((norm.mean, mean), (norm.variance, variance)):
        values[name] = each.to(values[name].dtype)
    values.update(zip(step.operation.outputs, step.run(values, context), strict=False))
    return mean, variance


def write_statistics(tensors: dict[str, Tensor], found: Mapping[Norm, list[tuple[Tensor, Tensor]]]) -> None:
    """Puts what was measured into the tensors of a network: the mean over all uses of a norm."""
    by_place: dict[tuple[str, ...], tuple[StoredEntries, list[Tensor]]] = {}
    for norm, uses in found.items():
        for k, entries in enumerate((norm.means, norm.variances)):
            by_place.setdefault(tuple(entries.parameters), (entries, []))[1].extend(use[k] for use in uses)
    for entries, measured in by_place.values():
        entries.write(tensors, torch.stack(measured).mean(0))


@torch.no_grad()
def _remeasured(weights: Weights, inputs: Inputs) -> Weights:
    graph, tensors = weights.graph, single(weights)
    norms = running_norms(graph)
    found: dict[Norm, list[tuple[Tensor, Tensor]]] = {}
    for step, values, context in walk_through(graph, tensors, inputs, weights.floating, weights.device):
        norm = norms.get(step.operation)
        if norm is not None:
            found.setdefault(norm, []).append(settle(norm, step, values, context))
    write_statistics(tensors, found)
    return batched(graph, tensors)


def _norm(graph: NetworkGraph, operation: Operation) -> Norm | None:
    roles = _statistics(operation)
    reads = next(iter(operation.operands.values()))
    if roles is None or not isinstance(reads, str) or not all(_own(graph, *each) for each in roles.items()):
        return None
    means, variances = (StoredEntries.of(graph, roles[role]) for role in ("mean", "variance"))
    if means is None or variances is None:
        return None
    return Norm(reads, roles["mean"], roles["variance"], operation.kind == "instance_norm", means, variances)


def _statistics(operation: Operation) -> dict[str, str] | None:
    """The operands of an operation that hold statistics, by what they are; None where it holds none."""
    part = operation.row.part
    if part.name != "norm":
        return None
    named = {part.word(operand): name for operand, name in operation.operands.items() if isinstance(name, str)}
    found = {role: named[role] for role in ("mean", "variance") if named.get(role)}
    return found if len(found) == 2 else None


def _own(graph: NetworkGraph, role: str, operand: str) -> bool:
    """Whether what an operand holds is read as such statistics only: some files store equal tensors once for all."""
    return all(
        each.row.part.name == "norm" and each.row.part.word(name) == role for each, name in readers(graph, operand)
    )
