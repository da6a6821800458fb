"""State dicts without code: never a silent guess.

Names and shapes do not show what is computed; guessing from them was wrong unseen on 7 of 32 models that we tried.  So
there are three answers, and each says what it rests on:

1. keys and shapes are exactly those of an architecture that is installed (`graphws_converters.sources.signatures`): its
   module is converted and tried, but that the file belongs to it stays a hypothesis;
2. the tensors are those of a chain of linear layers whose activation the caller names: a hypothesis;
3. every axis is free, with advice.

A hypothesis is UNVERIFIED, unless the caller gives inputs and the outputs that belong to them, and it computes those.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import torch
from torch import Tensor

from graphws.checkpoints.conversion import Conversion, Hints
from graphws.checkpoints.input_shapes import check_inputs, known_inputs
from graphws.errors import GraphError, UsageError, VerificationError
from graphws.graph import Axis, NetworkGraph, Parameter, Space, Storage, Weights
from graphws.operations import forward, verify
from graphws.operations.verify import relative_change
from graphws_converters.chains.state_source import convert_state_dict, is_chain
from graphws_converters.sources.signatures import recognise

CLOSE = 1e-3
"""Largest relative difference from the caller's outputs: files are often in half precision."""
ADVICE = (
    "nothing in the file shows what it computes, so every axis is free; for its symmetry give the module with example "
    "inputs, the Hugging Face folder with its config.json, or an ONNX file"
)

UNUSED = "the example inputs were not used: nothing shows what would run on them"


def convert_bare(state: Mapping[str, Tensor], hints: Hints, source: str) -> Conversion:
    """The graph of a state dict, as far as it can be known.

    Args:
        state: The tensors.
        hints: With `activation`, it is taken as a chain or refused; with inputs and outputs, a hypothesis is checked.
        source: What to call it in messages.

    Raises:
        UsageError: Where it is a chain whose activation is not named, or outputs are chosen that nothing shows.
        GraphError: Where an activation is named and it is no chain.
        VerificationError: Where a hypothesis does not compute the caller's outputs.
    """
    if any(".lora_" in key for key in state):
        made = _free(state, source)
        said = "the tensors are an adapter's (LoRA): give its folder with adapter_config.json, which says their scale"
        return replace(made, notes=(said, *made.notes))
    if hints.activation is None:
        found = recognise(state, hints)
        if found is not None:
            name, assumed, made = found
            said = f"{source} has the keys and shapes of {name}, and is taken for one with {assumed}"
            run = made.run
            return _checked(made, hints, said, (lambda: run(made.weights)) if run is not None else None)  # type: ignore[arg-type]
    if hints.outputs is not None:
        raise UsageError(f"{source} holds no code: it has no outputs to choose from")
    if hints.activation is None and not is_chain(state):
        made = _free(state, source)
        return made if hints.example_inputs is None else replace(made, notes=(*made.notes, UNUSED))
    made = convert_state_dict(state, hints, source)
    if hints.example_inputs is not None:
        check_inputs(hints.example_inputs, known_inputs(made.graph), source)
    weights, inputs = made.weights, _only(hints.example_inputs)
    if weights is None or not isinstance(inputs, Tensor):
        return made
    sharp, points = weights.to(dtype=torch.float64), inputs.double()
    checked = _checked(made, hints, made.reason, lambda: forward(made.graph, sharp, points)[0])
    if hints.example_outputs is None:
        return checked
    gate = verify(made.graph, sharp, points, generator=hints.random, actions="rich")
    return replace(checked, verification=gate)


def _checked(made: Conversion, hints: Hints, said: str, outputs: Callable[[], Tensor] | None) -> Conversion:
    """A hypothesis, held against the caller's outputs where there are any."""
    tried = f"; as such its group was tried: {made.verification}" if made.verification else ""
    if hints.example_outputs is None or hints.example_inputs is None or outputs is None:
        advice = "" if "code" in said else "; inputs and the outputs that belong to them would show it"
        return replace(made, verification=None, reason=said + tried + advice)
    ours, theirs = outputs().double().reshape(-1), hints.example_outputs.double().reshape(-1)
    if ours.shape != theirs.shape:
        raise VerificationError(f"{said}: but that gives {ours.numel()} outputs, and {theirs.numel()} were given")
    error = relative_change(theirs, ours)
    if not error <= CLOSE:
        raise VerificationError(f"{said}: but its outputs differ from the given ones by {error:.1e} (allowed {CLOSE})")
    return replace(made, reason="", notes=(*made.notes, f"{said}; it computes the given outputs to {error:.1e}"))


def _only(inputs: object) -> object:
    """The one input of a chain, also where it came in a tuple or under a name."""
    held = list(inputs.values()) if isinstance(inputs, Mapping) else list(inputs) if isinstance(inputs, tuple) else []
    return held[0] if len(held) == 1 else inputs


def _free(state: Mapping[str, Tensor], source: str) -> Conversion:
    """Every axis free: a graph whose group is trivial, and which is right whatever the file computes."""
    sizes = sorted({n for tensor in state.values() for n in tensor.shape if n > 0})
    empty = next((key for key, tensor in state.items() if 0 in tensor.shape), None)
    if empty is not None:
        raise GraphError(f"{source}: {empty!r} of shape {tuple(state[empty].shape)} holds no numbers")
    spaces = tuple(Space(f"axis{n}", n, "free", reason="no code: nothing shows what it indexes") for n in sizes)
    seen: dict[tuple[int, torch.dtype, tuple[int, ...]], str] = {}
    aliases: dict[str, list[str]] = {}
    for key, tensor in state.items():
        first = seen.setdefault((tensor.data_ptr(), tensor.dtype, tuple(tensor.shape)), key)
        aliases.setdefault(first, []).append(key)
    parameters = tuple(
        Parameter(
            _name(key),
            tuple(Axis(f"axis{n}") for n in state[key].shape),
            "weight" if state[key].ndim > 1 else "bias",
            storage=Storage(key, tuple(state[key].shape), aliases=tuple(keys[1:])),
        )
        for key, keys in aliases.items()
    )
    graph = NetworkGraph(spaces, parameters)
    return Conversion(graph, Weights.from_state_dict(graph, state), reason=f"{source}: {ADVICE}")


def _name(key: str) -> str:
    """A parameter's name: the key, with what cannot be printed replaced."""
    return "".join(c if c.isprintable() else "_" for c in key) or "_"
