"""Which source it is, and who converts it.

===================================  ==============================================================================
source                               how it is read
===================================  ==============================================================================
`nn.Module`                          traced and tried (`graphws_converters.modules.conversion`)
mapping of names to tensors          by its keys and shapes (`graphws_converters.sources.bare`): a hypothesis
file of PyTorch or Lightning,        the state dict inside, as above; what a file is, its first bytes say
``.safetensors``, NumPy, GGUF
TorchScript program                  traced and tried, only where its code may run
``….index.json``                     the state dict in the shards (``.safetensors``, ``.bin``) that it names
folder with ``config.json``          the model of transformers that it names, with its weights where there are any
folder with ``adapter_config.json``  PEFT's LoRA adapter on its base model, where that is on this machine, or by itself
``.onnx``                            run by rules of our own, then traced and tried
===================================  ==============================================================================
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from torch import Tensor, nn

from graphws.checkpoints.conversion import Contents, Conversion, Hints
from graphws.checkpoints.formats import ONNX, format_of
from graphws.checkpoints.state_dict import INDEXES, SUFFIXES, read_checkpoint
from graphws.errors import DataError, UsageError
from graphws_converters.modules.conversion import convert_module
from graphws_converters.sources.bare import convert_bare
from graphws_converters.sources.lora_sites import CONFIG as ADAPTER
from graphws_converters.sources.peft import WEIGHTS as ADAPTERS
from graphws_converters.sources.peft import convert_adapter, is_adapter, read_adapter
from graphws_converters.sources.torchscript import convert_torchscript, is_torchscript

CONFIG = "config.json"


class NetworkConverter:
    """Everything that graphws can convert by itself."""

    def accepts(self, source: object) -> bool:
        """Modules, mappings of names to tensors, and paths that look like one of the sources."""
        if isinstance(source, nn.Module):
            return True
        if isinstance(source, str | Path):
            path = Path(source)
            folder = path.is_dir() and ((path / CONFIG).is_file() or is_adapter(path))
            if folder or path.suffix in (*SUFFIXES, ".onnx") or path.name.endswith(INDEXES):
                return True
            found = format_of(path) if path.is_file() else None
            return found is not None and not found.advice
        return (
            isinstance(source, Mapping)
            and bool(source)
            and all(isinstance(key, str) and isinstance(value, Tensor) for key, value in source.items())
        )

    def convert(self, source: object, hints: Hints) -> Conversion:
        """The conversion; see `graphws.convert`."""
        if isinstance(source, nn.Module):
            return convert_module(source, hints.example_inputs, generator=hints.random, hints=hints)
        if isinstance(source, str | Path):
            return _convert_path(Path(source), hints)
        if isinstance(source, Mapping):
            return convert_bare(source, hints, "a state dict")
        raise UsageError(f"a network is a module, a state dict or a path; got a {type(source).__name__}")

    def read(self, source: object) -> Contents:
        """The numbers of an ``.onnx`` file, a Hugging Face folder or an adapter's; see `read_contents`."""
        if isinstance(source, str | Path) and _is_onnx(Path(source)):
            from graphws_converters.sources.onnx_file import read_onnx

            return read_onnx(Path(source))
        if isinstance(source, str | Path) and (Path(source) / ADAPTER).is_file():
            return read_adapter(Path(source))
        if isinstance(source, str | Path) and Path(source).is_dir():
            from graphws_converters.sources.huggingface import read_folder

            return read_folder(Path(source))
        raise UsageError(f"{str(source)[:80]!r} holds no whole network: an .onnx file or a Hugging Face folder does")


def _is_onnx(path: Path) -> bool:
    return path.suffix == ".onnx" or (path.is_file() and format_of(path) == ONNX)


def _convert_path(path: Path, hints: Hints) -> Conversion:
    if path.is_dir():
        if is_adapter(path):
            return convert_adapter(path, hints)
        from graphws_converters.sources.huggingface import convert_folder

        return convert_folder(path, hints)
    if path.name in ADAPTERS and is_adapter(path.parent):
        return convert_adapter(path.parent, hints)
    if _is_onnx(path):
        from graphws_converters.sources.onnx_file import convert_onnx

        return convert_onnx(path, hints)
    if is_torchscript(path):
        return convert_torchscript(path, hints)
    found = read_checkpoint(path)
    if not found.state:
        raise DataError(f"{path}: its state dict is empty")
    made = convert_bare(found.state, hints, path.name)
    return replace(made, notes=(found.story, *made.notes)) if found.story else made
