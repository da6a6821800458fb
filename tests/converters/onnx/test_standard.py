"""The rules against the ONNX standard's own cases: inputs and outputs that come with the package ``onnx``.

Every case of an operator that has a rule is run; `_inapplicable` says which are left out and why, `REFUSED` which forms
of an operator are refused in words.
"""

from __future__ import annotations

import warnings
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

onnx = pytest.importorskip("onnx")

from graphws.errors import DataError  # noqa: E402
from graphws_converters.onnx import OnnxModule, read_model  # noqa: E402
from graphws_converters.onnx.ops import RULES  # noqa: E402

_TYPES = {"float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "bool"}
REFUSED = {
    "BatchNormalization": "batch normalisation while training",
    "DequantizeLinear": "quantisation in blocks",
    "Dropout": "dropout while training",
    "LSTM": "a clipped state, a coupled gate or a peephole",
    "LpPool": "a dilated p-norm",
    "MaxPool": "pooling of whole numbers|the positions of the largest numbers",
    "QuantizeLinear": "quantisation in blocks",
    "ReduceMax": "Expected reduction dim 1 to have non-zero size",
    "ReduceMin": "Expected reduction dim 1 to have non-zero size",
    "Resize": "coordinates of mode 'tf_crop_and_resize'|antialiasing or a kept aspect ratio",
    "Scan": "the scan of opset 8",
}
"""For each operator what is said of its forms that have no rule."""
FOLDERS = Path(onnx.__file__).parent / "backend" / "test" / "data"
EXPORTED = sorted(
    f"{kind}/{folder.name}"
    for kind in ("pytorch-converted", "pytorch-operator", "simple")
    for folder in (FOLDERS / kind).glob("test_*")
)
"""Models of opsets 6 to 9 with their inputs and outputs, which PyTorch and others exported."""
NOT_RUN = ("gradient", "sequence", "strnorm")
"""Of these: operators of training, of sequences and of texts have no rules."""


@pytest.fixture(scope="module")
def cases() -> dict[str, list[Any]]:
    """The applicable cases by operator; those of several nodes go by the operator that they expand."""
    from onnx.backend.test.case.node import collect_testcases

    found = defaultdict(list)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        for case in collect_testcases(None):
            case.data_sets[:] = [tuple(list(map(_array, side)) for side in pair) for pair in case.data_sets]
            if not _inapplicable(case):
                nodes = case.model.graph.node
                found[nodes[0].op_type if len(nodes) == 1 else "expanded"].append(case)
    return found


def _array(value: Any) -> Any:
    """Numbers and messages as arrays; what is none stays."""
    if isinstance(value, onnx.TensorProto):
        return onnx.numpy_helper.to_array(value)
    return np.asarray(value) if isinstance(value, np.generic) else value


def _inapplicable(case: Any) -> str:
    """Why a case is not run; empty where it is."""
    nodes = case.model.graph.node
    arrays = [array for given, wanted in case.data_sets for array in (*given, *wanted)]
    if any(node.domain not in ("", "ai.onnx") for node in nodes):
        return "operators of other domains have no rules"
    if {node.op_type for node in nodes} - set(RULES) - {"Constant"}:
        return "an operator without a rule: every model with it is refused by name"
    if not all(isinstance(array, np.ndarray) for array in arrays):
        return "sequences and optional values"
    if not all(array.dtype.name in _TYPES for array in arrays):
        return "texts, complex numbers, and types that torch does not compute with"
    return ""


def _difference(module: OnnxModule, given: list[Any], wanted: list[Any], rtol: float) -> str:
    """How outputs differ from those that are wanted; empty where they do not."""
    tensors = [torch.from_numpy(np.array(x)) for x in given]
    outputs = module(*tensors[: len(module.inputs)])
    for ours, theirs in zip(outputs if isinstance(outputs, tuple) else (outputs,), wanted, strict=False):
        if tuple(ours.shape) != theirs.shape:
            return f"shape {tuple(ours.shape)} instead of {theirs.shape}"
        loose = 1e-2 if theirs.dtype == np.float16 else 1e-5
        left, right = ours.detach().numpy().astype(np.float64), theirs.astype(np.float64)
        if not np.allclose(left, right, rtol=max(rtol, loose), atol=loose, equal_nan=True):
            return "numbers"
    return ""


def _outcome(case: Any) -> str:
    """``right``, ``refused: …``, or what is wrong."""
    try:
        module = OnnxModule(case.model)
        found = [_difference(module, given, wanted, case.rtol) for given, wanted in case.data_sets]
    except DataError as error:
        return f"refused: {error}"
    return next((text for text in found if text), "right")


@pytest.mark.parametrize("name", sorted(RULES))
def test_no_rule_contradicts_the_standard(cases: dict[str, list[Any]], name: str) -> None:
    outcomes = {case.name: _outcome(case) for case in cases[name]}
    others = {case: what for case, what in outcomes.items() if what != "right"}
    words = REFUSED.get(name, "")
    assert not {
        case: what for case, what in others.items() if not any(word in what for word in words.split("|") if word)
    }
    assert all(what.startswith("refused: ") and len(what.splitlines()) == 1 for what in others.values())
    assert not words or others or name == "Dropout", "nothing is refused any more: take it out of the table"


def test_functions_written_out_in_operators_agree_too(cases: dict[str, list[Any]]) -> None:
    outcomes = {case.name: _outcome(case) for case in cases["expanded"]}
    assert not {case: what for case, what in outcomes.items() if what != "right" and not what.startswith("refused: ")}
    assert sum(what == "right" for what in outcomes.values()) >= 0.9 * len(outcomes) >= 100


def test_most_operators_have_a_case_that_is_right(cases: dict[str, list[Any]]) -> None:
    assert len([name for name in RULES if cases[name]]) >= 120
    assert len(RULES) >= 140


def test_a_rule_that_is_wrong_is_seen(cases: dict[str, list[Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(RULES, "Sinh", RULES["Cosh"])
    assert {_outcome(case) for case in cases["Sinh"]} == {"numbers"}


@pytest.mark.parametrize("place", EXPORTED)
def test_models_of_early_opsets(place: str) -> None:
    folder = FOLDERS / place
    model = read_model(folder / "model.onnx")
    if any(word in place for word in NOT_RUN):
        with pytest.raises(DataError, match=r"^ONNX model: no rule for operators? \S+"):
            OnnxModule(model)
        return
    module = OnnxModule(model)
    for data in folder.glob("test_data_set_*"):
        given, wanted = (_tensors(data, name) for name in ("input", "output"))
        assert not _difference(module, given, wanted, 1e-3)


def _tensors(folder: Path, name: str) -> list[Any]:
    count = len(list(folder.glob(f"{name}_*.pb")))
    return [onnx.numpy_helper.to_array(onnx.load_tensor(str(folder / f"{name}_{k}.pb"))) for k in range(count)]
