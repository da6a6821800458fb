"""ONNX files as torch modules.

Three steps, a file each: `file` reads a model within bounds, `parse` turns it into plain nodes and decides what is a
parameter, `module` runs the nodes on torch, one small rule an operator (`ops`).  The module is then converted like any
other.
"""

from __future__ import annotations

from graphws_converters.onnx.file import read_model as read_model
from graphws_converters.onnx.module import OnnxModule as OnnxModule
