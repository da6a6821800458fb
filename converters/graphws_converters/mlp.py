"""The converter that comes along, under the name that it is registered by."""

from __future__ import annotations

from graphws_converters.sources.dispatch import NetworkConverter


class MLPConverter(NetworkConverter):
    """Modules, state dicts, checkpoints, Hugging Face folders, ONNX and TorchScript files."""
