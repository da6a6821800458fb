"""Reading ONNX files within bounds.

An ONNX file is a protobuf message; constants may lie in files beside it.  Neither is believed: a message is at most
2 GiB (protobuf's own bound), external data must lie in the file's own folder (no absolute path, no way up, no link
that leads out) and inside their files, shapes must fit the bytes that there are, and the sum stays below a limit.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import onnx
import onnx.inliner
from onnx import GraphProto, ModelProto, TensorProto
from onnx.external_data_helper import ExternalDataInfo, uses_external_data

from graphws.checkpoints.state_dict import LARGEST_DIMENSION, LARGEST_FILE, MOST_TENSORS
from graphws.errors import DataError
from graphws_converters.onnx.functions import check_functions
from graphws_converters.onnx.parse import MOST_NODES

LARGEST_MESSAGE = (1 << 31) - 1


def read_model(path: str | Path, limit: int = LARGEST_FILE) -> ModelProto:
    """The model in a file, with its external data inside and its local functions inlined.

    Args:
        path: The file.
        limit: Most bytes that the file and its external data may have together.

    Raises:
        DataError: Where it is missing, no ONNX model, too large, or reaches for data outside its folder.
    """
    file = Path(path)
    if not file.is_file():
        raise DataError(f"{file}: no such file")
    size = file.stat().st_size
    if size > min(limit, LARGEST_MESSAGE):
        raise DataError(f"{file}: {size} bytes, at most {min(limit, LARGEST_MESSAGE)} are read")
    try:
        model: ModelProto = ModelProto.FromString(file.read_bytes())
    except Exception as error:  # protobuf's DecodeError, whose module is not onnx's to export
        raise DataError(f"{file}: not an ONNX model, or cut off: {_first_line(error)}") from None
    if not model.graph.node or not model.graph.output:
        raise DataError(f"{file}: not an ONNX model: it has no graph that computes anything")
    tensors = list(_tensors(model))
    if len(tensors) > MOST_TENSORS:
        raise DataError(f"{file}: {len(tensors)} constants, at most {MOST_TENSORS} are read")
    total = size
    for tensor in tensors:
        _check(file, tensor)
        total += _load_external(file, tensor, limit - total) if uses_external_data(tensor) else 0
    if model.functions:
        check_functions(file, model, MOST_NODES, limit)
        try:
            model = onnx.inliner.inline_local_functions(model)
        except Exception as error:  # the inliner raises whatever its C++ part says
            raise DataError(f"{file}: its local functions cannot be inlined: {_first_line(error)}") from None
    return model


def _tensors(model: ModelProto) -> Iterator[TensorProto]:
    """Every constant, in every graph and function."""
    yield from _of_graph(model.graph)
    for function in model.functions:
        for node in function.node:
            yield from _of_attributes(node.attribute)


def _of_graph(graph: GraphProto) -> Iterator[TensorProto]:
    yield from graph.initializer
    for node in graph.node:
        yield from _of_attributes(node.attribute)


def _of_attributes(attributes: object) -> Iterator[TensorProto]:
    for attribute in attributes:  # type: ignore[attr-defined]
        if attribute.HasField("t"):
            yield attribute.t
        yield from attribute.tensors
        for graph in [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]:
            yield from _of_graph(graph)


def _check(file: Path, tensor: TensorProto) -> None:
    if any(not 0 <= length <= LARGEST_DIMENSION for length in tensor.dims) or len(tensor.dims) > 64:
        shape = list(tensor.dims)[:8]
        raise DataError(
            f"{file}: constant {tensor.name[:80]!r} claims the shape {shape}; an axis is believed up to 2^40"
        )


def _load_external(file: Path, tensor: TensorProto, left: int) -> int:
    """Puts a constant's external numbers into the message; how many bytes they are."""
    name = f"constant {tensor.name[:80]!r}"
    try:
        info = ExternalDataInfo(tensor)
        offset, length = info.offset or 0, info.length
    except (ValueError, TypeError, KeyError) as error:
        raise DataError(f"{file}: {name} has unreadable external data: {_first_line(error)}") from None
    folder = file.resolve().parent
    place = (folder / str(info.location)).resolve() if info.location and "\0" not in info.location else folder
    if Path(str(info.location)).is_absolute() or folder not in place.parents:
        raise DataError(f"{file}: {name} lies in {str(info.location)[:80]!r}, outside of the model's folder")
    if not place.is_file():
        raise DataError(f"{file}: {name} lies in {str(info.location)[:80]!r}, which is not there")
    held = place.stat().st_size
    wanted = held - offset if length is None else int(length)
    if not 0 <= offset <= held or not 0 <= wanted <= held - offset:
        raise DataError(f"{file}: {name} claims bytes {offset} to {offset + wanted} of a file of {held} bytes")
    if wanted > left:
        raise DataError(f"{file}: its constants have more bytes than may be read")
    bits = math.prod(tensor.dims) * _bits(tensor)
    if bits and -(-bits // 8) != wanted:
        raise DataError(f"{file}: {name} claims {-(-bits // 8)} bytes, its external data have {wanted}")
    with place.open("rb") as data:
        data.seek(offset)
        tensor.raw_data = data.read(wanted)
    del tensor.external_data[:]
    tensor.data_location = TensorProto.DEFAULT
    return wanted


def _bits(tensor: TensorProto) -> int:
    """Bits of one number; 0 where that is not known."""
    try:
        return 8 * int(onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize)
    except (KeyError, TypeError, ValueError):
        return 0


def _first_line(error: BaseException) -> str:
    text = next(iter(str(error).strip().splitlines()), "") or type(error).__name__
    return text if len(text) <= 200 else text[:197] + "..."
