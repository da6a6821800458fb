"""Foreign networks as typed graphs: the public face of the converters.

>>> import torch
>>> from graphws import convert
>>> siren = torch.nn.Sequential(torch.nn.Linear(2, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))
>>> result = convert(siren, generator=torch.Generator().manual_seed(0))
>>> result.verified, str(result.graph.parameters[0])
(True, 'W1[hidden1, input*]')

Which converters there are is decided by the installed packages: they are registered under the entry point group
``graphws.converters``, and this module asks each in turn whether it takes the source.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from graphws.checkpoints.conversion import Contents, Conversion, Converter, Hints, Reader
from graphws.checkpoints.formats import refuse_unread
from graphws.checkpoints.input_shapes import check_inputs, known_inputs
from graphws.checkpoints.network_file import is_network_file, load_network
from graphws.checkpoints.state_dict import INDEXES
from graphws.checkpoints.unknown_sources import unknown_source
from graphws.errors import DataError, UsageError
from graphws.graph.network import NetworkGraph
from graphws.graph.serialise import LONGEST
from graphws.reporter import Reporter

GROUP = "graphws.converters"
EFFORT = 1e10
"""Numbers that the gate of a network file may make when it is run again: minutes."""


def converters() -> dict[str, Converter]:
    """The installed converters by name, in alphabetical order."""
    found = sorted(entry_points(group=GROUP), key=lambda entry: entry.name)
    return {entry.name: entry.load()() for entry in found}


def convert(
    source: object,
    example_inputs: Tensor | tuple[Any, ...] | Mapping[str, Any] | None = None,
    *,
    example_outputs: Tensor | None = None,
    activation: str | Sequence[str] | None = None,
    omega: float | Sequence[float] | None = None,
    exponent: int | None = None,
    generator: torch.Generator | None = None,
    allow_code: bool = False,
    outputs: str | int | Sequence[str | int] | None = None,
    reporter: Reporter | None = None,
) -> Conversion:
    """The typed graph and the weights of a network, and whether they were verified.

    Law: a VERIFIED conversion computes what the source computes, and its group leaves that function alone, both
    measured; anything that cannot be measured comes back UNVERIFIED with the reason, or is refused.

    Args:
        source: An `nn.Module`, a state dict, or a path: of a checkpoint (PyTorch's ``.pt``, ``.pth``, ``.th``,
            ``.bin``, Lightning's ``.ckpt``, ``.safetensors`` or its index of shards, ``.npz``, GGUF of plain numbers),
            of a Hugging Face folder, of a PEFT folder with a LoRA adapter, of an ``.onnx`` file, or of a converted
            network, whose gate is run again.  Files go by their first bytes, not by their names.
        example_inputs: A batch of inputs, where the source does not show their shapes: one tensor, a tuple by
            position, or a mapping by name.
        example_outputs: What a source without code computes from these inputs, to check a hypothesis against.
        activation: Of the hidden layers (one name, or one each), for a source without code, or one that is unclear.
        omega: Frequency of sine activations (one, or one each).
        exponent: Power of ``power`` activations.
        generator: Source of randomness of the numeric gate; seeded with 0 where None.
        allow_code: Whether a source that is a program (TorchScript) may run; never set it for files from strangers.
        outputs: Which of several outputs the group has to leave alone: a name (a key, a field, an output of an ONNX
            graph; ``"a.b"`` for b inside a), a position, several of them, or ``"all"``.  Where None, what the network
            is for: the predictions of a model of transformers, else its embeddings, else its last hidden state; no
            state of a recurrent layer behind something else; of every other network all.  What was left out is named
            in the notes, and in `Conversion.outputs`.
        reporter: Hears how far the conversion is; nobody where None.

    Raises:
        UsageError: Where nothing is known about such a source, a hint is needed, or there is no such output.
        DataError: Where a file cannot be read.
        GraphError: Where the network is none that the converter can describe.
        VerificationError: Where the numbers contradict the graph or a hint.
    """
    installed = converters()
    if not installed:
        raise UsageError("no converter is installed: install graphws again, they come with it")
    hints = Hints(
        example_inputs, activation, omega, exponent, generator, example_outputs, allow_code, outputs,
        reporter or Reporter(),
    )  # fmt: skip
    if isinstance(source, str | Path):
        refuse_unread(Path(source))
        if is_network_file(Path(source)):
            if outputs is not None:
                raise UsageError(
                    f"{Path(source).name} is a converted network: its outputs were chosen when it was converted"
                )
            if example_inputs is not None:  # before the gate is run again
                _taking(load_network(source), example_inputs, Path(source).name)
            with hints.reporter.work(f"trying the group of {Path(source).name} again"):
                return load_network(source, effort=EFFORT, generator=generator)
    for converter in installed.values():
        if converter.accepts(source):
            return converter.convert(source, hints)
    raise UsageError(unknown_source(source))


def read_contents(source: object) -> Contents:
    """The numbers of a source that holds a whole network, such as an ``.onnx`` file, without converting it.

    Raises:
        UsageError: Where no installed converter reads such a source.
        DataError: Where it cannot be read.
    """
    for converter in converters().values():
        if converter.accepts(source) and isinstance(converter, Reader):
            return converter.read(source)
    what = f"{Path(source).name!r}" if isinstance(source, str | Path) else f"a {type(source).__name__}"
    raise UsageError(f"no installed converter reads {what} without converting it")


def load_graph_file(
    path: str | Path,
    example_inputs: Tensor | tuple[Any, ...] | Mapping[str, Any] | None = None,
    *,
    activation: str | Sequence[str] | None = None,
    omega: float | Sequence[float] | None = None,
    exponent: int | None = None,
    allow_code: bool = False,
    outputs: str | int | Sequence[str | int] | None = None,
    effort: float = 0.0,
    reporter: Reporter | None = None,
) -> Conversion:
    """The graph of a file, whatever it is: a converted network, a graph's JSON, a zoo's folder, or a source to convert.

    Args:
        path: A ``.safetensors`` file that `graphws.checkpoints.save_network` (``graphws convert -o``) wrote, a
            ``.json`` file, a folder that holds ``graph.json``, or a source for `convert`.
        example_inputs: For a source; see `convert`.
        activation: For a source.
        omega: For a source.
        exponent: For a source.
        allow_code: For a source.
        outputs: For a source.
        effort: For a converted network: how much to spend on running its gate again; see `load_network`.
        reporter: For a source.

    Raises:
        DataError: Where there is no such file, the folder is neither a zoo nor a model, or a file is damaged.
        GraphError: Where the JSON does not describe a graph.
        UsageError: Where a source needs a hint.
    """
    place = Path(path)
    if place.is_dir():
        refuse_unread(place)
    if place.is_dir() and not any((place / name).is_file() for name in ("config.json", "adapter_config.json")):
        if not (place / "graph.json").is_file():
            raise DataError(f"{place}: this folder holds no graph.json, so it is no zoo")
        place = place / "graph.json"
    if place.suffix != ".json" or place.name.endswith(INDEXES):
        if not place.exists():
            raise DataError(f"{place}: no such file")
        if is_network_file(place):
            return _taking(load_network(place, effort=effort), example_inputs, place.name)
        return convert(
            place, example_inputs, activation=activation, omega=omega, exponent=exponent, allow_code=allow_code,
            outputs=outputs, reporter=reporter,
        )  # fmt: skip
    try:
        if place.stat().st_size > 4 * LONGEST:
            raise DataError(f"{place}: {place.stat().st_size} bytes, too large for a graph")
        text = place.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise DataError(f"{place}: no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{place}: cannot be read: {error}") from None
    made = Conversion(NetworkGraph.from_json(text), reason="a graph without weights: there is nothing to compare")
    return _taking(made, example_inputs, place.name)


def _taking(
    made: Conversion, example_inputs: Tensor | tuple[Any, ...] | Mapping[str, Any] | None, name: str
) -> Conversion:
    """A network that was converted before, where example inputs are such as it takes; `UsageError` where not."""
    if example_inputs is not None:
        check_inputs(example_inputs, known_inputs(made.graph), name)
    return made


def load_stated_network(
    path: str | Path,
    *,
    activation: str | Sequence[str] | None = None,
    omega: float | Sequence[float] | None = None,
    reporter: Reporter | None = None,
) -> Conversion:
    """As `load_graph_file`, for work that needs to know what the network computes.

    Raises:
        UsageError: On a checkpoint in which nothing shows it, with the way to a file that does.
    """
    found = load_graph_file(path, activation=activation, omega=omega, reporter=reporter)
    if found.weights is not None and not found.graph.operations and not any(s.moves for s in found.graph.spaces):
        raise UsageError(
            f"{Path(path).name}: nothing in this checkpoint shows what it computes; in Python, graphws.save("
            "graphws.convert(module, example_inputs), 'net.safetensors') writes a file that does: give that"
        )
    return found
