"""Where networks come from: modules, checkpoints, Hugging Face folders, ONNX and TorchScript files.

Each source has a file of its own; `graphws_converters.sources.dispatch` tells them apart by a cheap look.
"""

from __future__ import annotations
