"""Every spelling of a function is one row, and the row computes what PyTorch's own operation computes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from graphws.errors import GraphError
from graphws.kinds import Kind, kind
from graphws.kinds.attributes import DTYPES
from graphws.kinds.declare import aten
from graphws.kinds.spellings import canonical
from tests.kinds.calls import CALLS, Call

NUMBERS = {str(dtype).removeprefix("torch."): dtype for dtype in DTYPES.values()}


def run(row: Kind, arguments: dict[str, Any]) -> Any:
    """A row on arguments by the names of its operands and attributes, as a graph holds them."""
    slots = {operand.name for operand in row.operands}
    operands, attributes = {}, {}
    for name, value in arguments.items():
        tensors = any(isinstance(x, Tensor) for x in (value if isinstance(value, list) else [value]))
        if value is None or (name not in row.attributes and name not in slots and value is False):
            continue
        if tensors:
            operands[name] = value
        elif name not in ("layout", "device", "pin_memory", "non_blocking", "copy", "memory_format"):
            attributes[name] = str(value).removeprefix("torch.") if isinstance(value, torch.dtype) else value
    checked = row.checked(attributes)
    return row(*(operands.get(operand.name) for operand in row.operands), **checked)


def computed(call: Call, single: bool = True) -> Any:
    """What the table gives for a call."""
    found = canonical(*call, single=single)
    assert found is not None, f"no row for {call[0]}"
    return run(kind(found[0]), found[1])


def tensors(result: Any) -> list[Tensor]:
    """The tensors of a result."""
    return [x for x in (result if isinstance(result, tuple | list) else [result]) if isinstance(x, Tensor)]


def same(ours: Any, theirs: Any) -> bool:
    """Whether as many tensors as the row gives are the same, in type, shape and numbers."""
    return len(tensors(ours)) >= 1 and all(
        x.dtype == y.dtype and x.shape == y.shape and torch.allclose(x, y, rtol=1e-13, atol=1e-13, equal_nan=True)
        for x, y in zip(tensors(ours), tensors(theirs), strict=False)
    )


def _named(call: Call) -> str:
    return f"{call[0]}-{'-'.join(call[1])}"


@pytest.mark.parametrize("call", CALLS, ids=_named)
def test_the_row_computes_the_call(call: Call) -> None:
    assert same(computed(call), aten(*call))


def _learning(call: Call) -> tuple[Call, list[Tensor]]:
    """The same call on arguments that gradients are taken for."""

    def ready(x: Tensor) -> Tensor:
        return x.detach().clone().requires_grad_(x.is_floating_point())

    arguments = {
        name: value if name.startswith("running") else pytree.tree_map_only(Tensor, ready, value)
        for name, value in call[1].items()  # PyTorch's own kernels take no gradients in running statistics
    }
    return (call[0], arguments), [x for x in pytree.tree_leaves(arguments) if isinstance(x, Tensor) and x.requires_grad]


@pytest.mark.parametrize("call", CALLS, ids=_named)
def test_the_row_has_the_gradients_of_the_call(call: Call) -> None:
    gradients = []
    for function in (computed, lambda call: aten(*call)):
        learning, leaves = _learning(call)
        outputs = [x for x in tensors(function(learning))[:1] if x.requires_grad]  # type: ignore[operator]
        if not outputs:
            return
        given = [torch.linspace(-1, 2, x.numel(), dtype=x.dtype).reshape(x.shape) for x in outputs]
        gradients.append(torch.autograd.grad(outputs, leaves, given, allow_unused=True))
    for ours, theirs in zip(*gradients, strict=True):
        if theirs is None:
            assert ours is None or not ours.any()
        elif ours is None:
            assert not theirs.any()
        else:
            assert torch.allclose(ours, theirs, rtol=1e-11, atol=1e-12, equal_nan=True)


def test_a_wrong_row_is_noticed() -> None:
    call: Call = ("leaky_relu", {"self": torch.linspace(-1, 1, 5), "negative_slope": 0.2})
    assert same(computed(call), aten(*call))
    assert not same(computed(("leaky_relu", {**call[1], "negative_slope": 0.1})), aten(*call))
    assert not same(computed(("relu", {"self": call[1]["self"]})), aten(*call))
    assert not same(computed(call).float().int(), aten(*call))


@pytest.mark.parametrize(
    ("op", "arguments", "single"),
    [
        ("dropout", {"input": 0, "p": 0.5, "train": True}, True),
        ("native_dropout", {"input": 0, "p": 0.5, "train": False}, False),
        ("batch_norm", {"input": 0, "running_mean": 0, "running_var": 0, "training": True}, True),
        ("native_layer_norm", {"input": 0, "normalized_shape": [4]}, False),
        ("scaled_dot_product_attention", {"query": 0, "key": 0, "value": 0, "dropout_p": 0.1}, True),
        ("rrelu", {"self": 0, "training": True}, True),
        ("view", {"self": 0, "dtype": torch.int32}, True),
        ("lstm", {"input": 0, "hx": [0, 0], "params": [], "train": True, "dropout": 0.5}, True),
        ("bernoulli", {"self": 0}, True),
        ("relu_", {"self": 0}, True),
        ("opaque", {"tensors": []}, True),
    ],
)
def test_what_is_no_function_of_its_inputs_has_no_row(op: str, arguments: dict[str, Any], single: bool) -> None:
    assert canonical(op, arguments, single=single) is None


def test_a_softmax_that_hides_rows_is_not_the_plain_one() -> None:
    """Where every entry is hidden PyTorch's safe form gives zeros, the plain one nothing that is a number."""
    x = torch.tensor([[1.0, 2.0], [-torch.inf, -torch.inf]])
    assert computed(("_safe_softmax", {"self": x, "dim": -1}))[1].tolist() == [0, 0]
    assert computed(("softmax", {"self": x, "dim": -1}))[1].isnan().all()


def test_a_call_that_no_form_takes_is_refused() -> None:
    with pytest.raises(GraphError, match=r"^operation 'relu': no form of it takes \(self: Tensor, other: Tensor\)$"):
        aten("relu", {"self": torch.ones(2), "other": torch.ones(2)})
