"""Which source it is, and who converts it.

===================================  ==============================================================================
source                               how it is read
===================================  ==============================================================================
`nn.Module`                          traced and tried (`graphws_converters.modules.conversion`)
mapping of names to tensors          by its keys and shapes (`graphws_converters.sources.bare`): a hypothesis
``.pt .pth .th .bin .safetensors``   the state dict inside, as above; a TorchScript program only where allowed
``….index.json``                     the state dict in the shards (``.safetensors``, ``.bin``) that it names
folder with ``config.json``          the model of transformers that it names, with its weights where there are any
folder with ``adapter_config.json``  PEFT's LoRA adapter by itself (`graphws_converters.sources.peft`)
``.onnx``                            run by rules of our own, then traced and tried
===================================  ==============================================================================
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from torch import Tensor, nn

from graphws.checkpoints.conversion import Contents, Conversion, Hints
from graphws.checkpoints.state_dict import INDEXES, SUFFIXES, read_checkpoint
from graphws.errors import DataError, UsageError
from graphws_converters.modules.conversion import convert_module
from graphws_converters.sources.bare import convert_bare
from graphws_converters.sources.peft import CONFIG as ADAPTER
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
            return folder or path.suffix in (*SUFFIXES, ".onnx") or path.name.endswith(INDEXES)
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
        if isinstance(source, str | Path) and Path(source).suffix == ".onnx":
            from graphws_converters.sources.onnx_file import read_onnx

            return read_onnx(Path(source))
        if isinstance(source, str | Path) and (Path(source) / ADAPTER).is_file():
            return read_adapter(Path(source))
        if isinstance(source, str | Path) and Path(source).is_dir():
            from graphws_converters.sources.huggingface import read_folder

            return read_folder(Path(source))
        raise UsageError(f"{str(source)[:80]!r} holds no whole network: an .onnx file or a Hugging Face folder does")


def _convert_path(path: Path, hints: Hints) -> Conversion:
    if path.is_dir():
        if is_adapter(path):
            return convert_adapter(path, hints)
        from graphws_converters.sources.huggingface import convert_folder

        return convert_folder(path, hints)
    if path.suffix == ".onnx":
        from graphws_converters.sources.onnx_file import convert_onnx

        return convert_onnx(path, hints)
    if is_torchscript(path):
        return convert_torchscript(path, hints)
    found = read_checkpoint(path)
    if not found.state:
        raise DataError(f"{path}: its state dict is empty")
    made = convert_bare(found.state, hints, path.name)
    return replace(made, notes=(found.story, *made.notes)) if found.story else made
