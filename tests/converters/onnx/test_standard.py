"""The rules against the ONNX standard's own cases: inputs and outputs that come with the package ``onnx``."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch

onnx = pytest.importorskip("onnx")

from graphws.errors import DataError  # noqa: E402
from graphws_converters.onnx import OnnxModule  # noqa: E402
from graphws_converters.onnx.ops import RULES  # noqa: E402

ANY_ORDER = "test_top_k_same_values"
"""Of equal numbers torch and the standard put different ones first."""


@pytest.fixture(scope="module")
def cases() -> list[Any]:
    from onnx.backend.test.case.node import collect_testcases

    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        return list(collect_testcases(None))


def _plain(case: Any) -> bool:
    """One node of the standard's own domain, with a rule, on arrays of types that torch computes with."""
    nodes = case.model.graph.node
    arrays = [array for given, wanted in case.data_sets for array in (*given, *wanted)]
    return (
        len(nodes) == 1
        and nodes[0].op_type in RULES
        and nodes[0].domain == ""
        and all(isinstance(a, np.ndarray) and a.dtype.name in _TYPES for a in arrays)
    )


_TYPES = {"float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "bool"}


def _outcome(case: Any) -> str:
    try:
        module = OnnxModule(case.model)
        for given, wanted in case.data_sets:
            tensors = [torch.from_numpy(np.array(x)) for x in given]
            outputs = module(*tensors[: len(module.inputs)])
            outputs = outputs if isinstance(outputs, tuple) else (outputs,)
            for ours, theirs in zip(outputs, wanted, strict=False):
                if tuple(ours.shape) != theirs.shape:
                    return f"shape {tuple(ours.shape)} instead of {theirs.shape}"
                loose = 1e-2 if theirs.dtype == np.float16 else 1e-5
                given64, wanted64 = ours.numpy().astype(np.float64), theirs.astype(np.float64)
                if not np.allclose(given64, wanted64, rtol=max(case.rtol, loose), atol=loose, equal_nan=True):
                    return "numbers"
    except DataError as error:
        return f"refused: {error}"
    return "right"


def test_no_rule_contradicts_the_standard(cases: list[Any]) -> None:
    chosen = [case for case in cases if _plain(case) and not case.name.startswith(ANY_ORDER)]
    outcomes = {case.name: _outcome(case) for case in chosen}
    wrong = {name: what for name, what in outcomes.items() if what != "right" and not what.startswith("refused")}
    assert not wrong
    assert sum(what == "right" for what in outcomes.values()) >= 0.9 * len(outcomes)
    assert all(len(what.splitlines()) == 1 for what in outcomes.values())
    tested = {case.model.graph.node[0].op_type for case in chosen if outcomes[case.name] == "right"}
    assert len(tested) >= 120


def test_there_are_rules_for_most_of_the_standard() -> None:
    assert len(RULES) >= 140
