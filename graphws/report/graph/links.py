"""Parameters gathered into links: what a picture draws as one line.

A linear layer has a weight, a bias and perhaps the statistics of a norm; a picture that drew each by itself would bury
the network.  A *link* is the parameters of one module that join the same spaces in the same direction: the weight with
its bias, the gate and the up projection of one tensor.

An axis of a kernel's taps joins nothing that flows, so taps are kept aside; and a space that only says in which parent
another axis of the same tensor runs (the experts of ``e d* ~h``) is left out, its child stands for it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from graphws.graph import NetworkGraph, Parameter
from graphws.report.graph.positions import kernel_spaces
from graphws.shown import Shown

_SPLIT = re.compile(r"((?:\[[0-9]+\])+)$")
_OF_MODULE = frozenset({"weight", "bias", "running_mean", "running_var", "num_batches_tracked"})


@dataclass(frozen=True, repr=False)
class Link(Shown):
    """Parameters of one module between the same spaces.

    Attributes:
        label: Its name inside its container: ``q_proj``, or ``c_attn[0,1]`` where a tensor is split.
        container: Path of the module that holds it: ``("h", "0", "attn")``.
        parameters: Their names.
        reads: Spaces that the values come from.
        writes: Spaces that the values go to; a vector that only scales or shifts a space writes it.
        taps: The kernel space of each tap axis.
        loops: Whether a tensor has two axes of one space.
        time: Place of its first parameter in the data flow.
    """

    label: str
    container: tuple[str, ...]
    parameters: tuple[str, ...]
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    taps: tuple[str, ...]
    loops: bool
    time: int

    @property
    def spaces(self) -> tuple[str, ...]:
        """Every space that it joins, once."""
        return tuple(dict.fromkeys((*self.reads, *self.writes)))


@dataclass(frozen=True)
class Ends:
    """Spaces that one parameter joins: see `Link`."""

    reads: tuple[str, ...]
    writes: tuple[str, ...]
    taps: tuple[str, ...]


def flow_order(graph: NetworkGraph) -> list[Parameter]:
    """Parameters in the order in which operations first read them; one that none reads comes after its neighbour."""
    first: dict[str, int] = {}
    for k, operation in enumerate(graph.operations):
        for name in operation.inputs:
            first.setdefault(name, k)
    keyed, last = [], -1
    for k, parameter in enumerate(graph.parameters):
        last = first.get(parameter.name, last)
        keyed.append((last, k, parameter))
    return [parameter for _, _, parameter in sorted(keyed, key=lambda entry: entry[:2])]


def _written_axes(graph: NetworkGraph) -> dict[str, int]:
    """For each parameter that an operation multiplies by, the axis that says what it writes."""
    found: dict[str, int] = {}
    for operation in graph.operations:
        if operation.row.weight is not None:
            operand, axis = operation.row.weight
            for parameter in graph.weights_behind(operation.operands[operand]):
                found.setdefault(parameter.name, axis)
    return found


def module_path(name: str) -> tuple[tuple[str, ...], str, str]:
    """Container, label and split of a parameter's name.

    >>> module_path("h.0.attn.c_attn.weight[1]")
    (('h', '0', 'attn'), 'c_attn', '1')
    >>> module_path("mlp.experts.gate_up_proj")
    (('mlp', 'experts'), 'gate_up_proj', '')
    >>> module_path("W1")
    ((), 'W1', '')
    """
    match = _SPLIT.search(name)
    split = match[1][1:-1].replace("][", ",") if match else ""
    parts = (name[: match.start()] if match else name).split(".")
    if len(parts) > 1 and parts[-1] in _OF_MODULE:
        parts = parts[:-1]
    return tuple(parts[:-1]), parts[-1], split


def links(graph: NetworkGraph) -> tuple[Link, ...]:
    """The links of a graph, in the order of the data flow."""
    kernel = set(kernel_spaces(graph))
    ordered = flow_order(graph)
    written = _written_axes(graph)
    born: dict[str, int] = {}
    groups: dict[tuple[tuple[str, ...], str, Ends], list[tuple[int, Parameter, str]]] = {}
    for k, parameter in enumerate(ordered):
        container, label, split = module_path(parameter.name)
        ends = _ends(graph, parameter, kernel, written.get(parameter.name), born)
        for name in parameter.spaces:
            born.setdefault(name, len(born))
        groups.setdefault((container, label, ends), []).append((k, parameter, split))
    return _without_loose_vectors(groups)


def _ends(
    graph: NetworkGraph, parameter: Parameter, kernel: set[str], written: int | None, born: dict[str, int]
) -> Ends:
    """What a tensor joins, and in which direction its numbers carry values.

    The operation that multiplies by it knows.  Else the powers of its axes tell; else what is new is written; else the
    first axis.
    """
    taps = tuple(name for name in parameter.spaces if name in kernel)
    axes = [axis for axis in parameter.axes if axis.space not in kernel]
    names = {axis.space for axis in axes}
    above = {space.name for name in names for space in graph.lineage(name)[:-1]}
    axes = [axis for axis in axes if axis.space not in above]
    powers = {axis.space: axis.power for axis in axes}
    joined = list(powers)
    read = {name for name in joined if powers[name] < 0}
    if len(joined) < 2:
        return Ends((), tuple(joined), taps)
    if written is not None:  # (out, in, …), or (in, out, …)
        read = set(joined[1:]) if written == 0 else {joined[0]}
    elif len(read) == len(joined):  # keys follow the queries' axis upside down: what came last is written
        last = max(range(len(joined)), key=lambda k: (born.get(joined[k], len(born)), -k))
        read = set(joined) - {joined[last]}
    elif not read:
        fresh = {name for name in joined if name not in born}
        tables = {name for name in fresh if not graph.space(name).moves}
        read = tables or (set(joined) - fresh if fresh else set())
        if not read or len(read) == len(joined):  # (out, in), or a stack of such: (experts, out, in)
            read = set(joined) - {joined[-2]}
    return Ends(tuple(n for n in joined if n in read), tuple(n for n in joined if n not in read), taps)


def _without_loose_vectors(
    groups: dict[tuple[tuple[str, ...], str, Ends], list[tuple[int, Parameter, str]]],
) -> tuple[Link, ...]:
    """A vector joins the link of its own module that writes (or else reads) its space."""
    hosts = {key: entries for key, entries in groups.items() if len({*key[2].reads, *key[2].writes}) > 1}
    by_module: dict[tuple[tuple[str, ...], str], list[Ends]] = {}
    for container, label, ends in hosts:
        by_module.setdefault((container, label), []).append(ends)
    for key, entries in groups.items():
        container, label, ends = key
        if key in hosts:
            continue
        space = ends.writes[:1]
        others = by_module.get((container, label), [])
        host = next((o for o in others if space and space[0] in o.writes), None)
        host = host or next((o for o in others if space and space[0] in o.reads), None)
        if host is None or any(len(p.axes) > 1 for _, p, _ in entries):
            hosts[key] = entries
        else:
            hosts[container, label, host] = hosts[container, label, host] + entries
    for key in [key for key in hosts if not key[2].reads and not key[2].writes]:  # a norm's count of batches
        host_key = next((other for other in hosts if other[:2] == key[:2] and other[2].writes), None)
        if host_key is not None:
            hosts[host_key] = hosts[host_key] + hosts.pop(key)
    made = [_link(*key, entries) for key, entries in hosts.items()]
    return tuple(sorted(made, key=lambda link: link.time))


def _link(container: tuple[str, ...], label: str, ends: Ends, entries: list[tuple[int, Parameter, str]]) -> Link:
    entries = sorted(entries, key=lambda entry: entry[0])
    splits = sorted({split for _, _, split in entries if split}, key=lambda text: [int(n) for n in text.split(",")])
    if splits:
        label += f"[{', '.join(splits)}]"
    loops = any(p.spaces.count(name) > 1 for _, p, _ in entries for name in (*ends.reads, *ends.writes))
    names = tuple(parameter.name for _, parameter, _ in entries)
    return Link(label, container, names, ends.reads, ends.writes, ends.taps, loops, entries[0][0])
