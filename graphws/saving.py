"""Networks, runs and trained models in files: the doors of the public face, one for each kind of file.

============== ============================================= ====================================================
door           takes                                         gives
============== ============================================= ====================================================
`save`         a conversion, or a graph with its weights     one ``.safetensors`` file
`load`         that file                                     a `Conversion`: graph, weights, what is known of both
`load_run`     the folder of a run                           a `Run`, which answers about networks
`load_model`   ``models/NAME.safetensors`` of a run          a `TrainedModel`, which needs neither run nor zoo
============== ============================================= ====================================================

What one of them cannot read it names, with the door that can.

>>> import tempfile, torch, graphws
>>> found = graphws.convert(torch.nn.Sequential(torch.nn.Linear(2, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1)))
>>> with tempfile.TemporaryDirectory() as folder:
...     graphws.save(found, f"{folder}/net.safetensors")
...     graphws.load(f"{folder}/net.safetensors").graph == found.graph
True
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor, nn

from graphws.checkpoints import Conversion, is_network_file, load_network, save_network
from graphws.checkpoints.state_dict import INDEXES, SUFFIXES
from graphws.errors import DataError, UsageError
from graphws.graph import NetworkGraph, Weights

if TYPE_CHECKING:
    from graphws.runtime.prediction import Run
    from graphws.runtime.trained_model import TrainedModel

Network = Conversion | Weights | NetworkGraph | tuple[NetworkGraph, Weights | Mapping[str, Tensor]]
"""What a file can hold: one network, or its graph alone."""
UNTRIED = "saved from Python: nothing was compared"


def save(network: Network, path: str | Path, *, overwrite: bool = False) -> None:
    """Writes a network with its graph and all that is known of both into one file.

    Law: `load` gives the same graph, weights (bit for bit), verdict, notes and figures.

    Args:
        network: What `graphws.convert` gave; or weights of one network, which know their graph; or a graph with its
            weights or state dict; or a graph alone.
        path: A ``.safetensors`` file.
        overwrite: Whether a file that exists may be replaced.

    Raises:
        UsageError: On anything else, with what makes a network of it or where it is kept; on a file that exists.
        DataError: Where the name is another, or the file cannot be written.
        WeightsError: Where a state dict does not fit the graph.
    """
    found, place = _conversion(network), Path(path)
    if found.weights is not None and found.weights.batch != 1:
        raise UsageError(
            f"a file holds one network, got {found.weights.batch}: choose one with weights.select([k]); many are kept "
            "as a zoo, which `graphws zoo pack` makes of a folder of files"
        )
    if place.exists() and not overwrite:
        raise UsageError(f"{place} exists: give another name, or overwrite=True")
    save_network(found, place)


def load(path: str | Path) -> Conversion:
    """The network in a file that `save` or ``graphws convert`` wrote.

    Its figures are its writer's, and are called so; ``graphws.convert(path)`` tries the network again.

    Raises:
        UsageError: On anything else; it is named, with what reads it.
        DataError: Where there is no such file, or it is damaged.
    """
    place = Path(path)
    if _network_file(place):
        return load_network(place)
    raise _refusal(place, "a converted network")


def load_run(folder: str | Path) -> Run:
    """The run in a folder, whose models answer about networks; its zoo is not needed.

    Raises:
        UsageError: On anything else; it is named, with what reads it.  On a run that trains no models.
        RunError: Where something of it is damaged.
        DataError: Where there is no such folder.
    """
    place = Path(folder)
    if not (place / "run.json").is_file() and not (place / "spec.yaml").is_file():
        raise _refusal(place, "a run")
    from graphws.runtime.prediction import Run

    return Run.load(place)


def load_model(path: str | Path) -> TrainedModel:
    """The trained model in a file that a run keeps, ``models/NAME.safetensors``, wherever it is now.

    Raises:
        UsageError: On anything else; it is named, with what reads it.
        RunError: Where the file is damaged, or lacks what answers need, as older versions wrote it.
        DataError: Where there is no such file.
    """
    from graphws.runtime.model_file import is_model_file

    place = Path(path)
    if not is_model_file(place):
        raise _refusal(place, "a trained model")
    from graphws.runtime.trained_model import load_model

    return load_model(place)


def _conversion(network: object) -> Conversion:
    if isinstance(network, Conversion):
        return network
    if isinstance(network, NetworkGraph):
        return Conversion(network, reason=UNTRIED)
    if isinstance(network, Weights):
        return Conversion(network.graph, network.to("cpu"), reason=UNTRIED)
    if isinstance(network, tuple) and len(network) == 2 and isinstance(network[0], NetworkGraph):
        graph, numbers = network
        if isinstance(numbers, Weights) and numbers.graph == graph:
            return _conversion(numbers)
        if isinstance(numbers, Weights):
            raise UsageError("the weights are of another graph: save them alone, they know their own")
        if isinstance(numbers, Mapping):
            return _conversion(Weights.from_state_dict(graph, numbers))
    raise UsageError(f"save takes a conversion, or a graph with its weights, got {_cure(network)}")


def _cure(got: object) -> str:
    """What it is, and how it is kept."""
    name = type(got).__name__
    article = "an" if name[:1].lower() in "aeiou" else "a"
    if isinstance(got, nn.Module) and type(got).__module__.startswith("graphws."):
        return (
            f"{article} {name}, which reads networks: its run keeps it, as models/NAME.safetensors, for "
            "graphws.load_model; one without a run is kept by torch.save(model.state_dict(), file)"
        )
    if isinstance(got, nn.Module):
        return f"{article} {name}: graphws.save(graphws.convert(module), path)"
    if isinstance(got, Mapping):
        return (
            "a mapping, which does not say what it computes: graphws.save(graphws.convert(state), path), or "
            "graphws.save((graph, state), path)"
        )
    if isinstance(got, str | Path):
        return f"a path: graphws.save(network, path), or first graphws.convert({str(got)!r})"
    return f"{article} {name}"


def _network_file(place: Path) -> bool:
    return place.is_file() and is_network_file(place)


def _refusal(place: Path, wanted: str) -> UsageError | DataError:
    """That a path is not what was wanted but something else, and what reads that."""
    if not place.exists():
        return DataError(f"{place}: no such file or folder")
    what, door = _kind(place)
    return UsageError(f"{place} is {what}, not {wanted}" + (f": {door}" if door else ""))


def _kind(place: Path) -> tuple[str, str]:
    """What a path holds, as far as a look tells, and what reads it; empty where nothing does."""
    given = repr(str(place))
    convert = f"graphws.convert({given})"
    if place.is_dir():
        from graphws.zoo.manifest import NAME

        if (place / "run.json").is_file():
            return "a run", f"graphws.load_run({given})"
        if (place / NAME).is_file():
            return "a zoo", f"graphws.Zoo.open({given})"
        if any((place / name).is_file() for name in ("config.json", "adapter_config.json")):
            return "a Hugging Face folder", convert
        return "a folder without a run, a zoo or a model", ""
    from graphws.runtime.model_file import is_model_file

    if is_model_file(place):
        return "a trained model", f"graphws.load_model({given})"
    if _network_file(place):
        return "a converted network", f"graphws.load({given})"
    if place.suffix in (".yaml", ".yml"):
        return "a spec", f"graphws.load_spec({given})"
    if place.suffix == ".pt2":
        return "an exported model", f"torch.export.load({given})"
    if place.suffix == ".onnx" or place.name.endswith((*SUFFIXES, *INDEXES)):
        return "a checkpoint", convert
    if place.suffix == ".json":
        return "a graph without weights", "graphws.NetworkGraph.from_json(text)"
    return "a file of another kind", ""
