"""Networks made to deceive a converter: each breaks the symmetry of its plain twin on inputs that no example shows.

A trap is a function of a `Net` and its inputs.  What it does wrong it does where the bell rings: where the first hidden
neuron of the first row lies in a narrow window, which random inputs miss.
"""

from __future__ import annotations

import ctypes
import dataclasses
import functools
import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

WINDOW = (0.900, 0.905)
ROWS, INPUTS, NEURONS, OUTPUTS = 4, 5, 8, 3


class Net(nn.Module):
    """Two linear layers, and what a trap makes of them.

    Args:
        does: Computes the outputs.
        activation: Between the layers.
    """

    def __init__(self, does: Callable[[Net, Tensor], Any], activation: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(INPUTS, NEURONS), nn.Linear(NEURONS, OUTPUTS)
        self.does, self.activation, self.calls = does, activation, 0
        self.register_buffer("kept", torch.zeros(NEURONS), persistent=False)
        self.double()
        generator = torch.Generator().manual_seed(5)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(0.5 * torch.randn(parameter.shape, generator=generator))

    def hidden(self, x: Tensor) -> Tensor:
        """The hidden neurons, (rows, neurons)."""
        return self.activation(self.a(x))

    def forward(self, x: Tensor) -> Any:
        return self.does(self, x)


@dataclass(frozen=True)
class Trap:
    """One network.

    Attributes:
        name: What it does.
        kind: What it stands for.
        does: Its outputs.
        activation: Of its hidden layer.
        note: Where the claim of its plain twin may stand, what a note has to say; None where nothing excuses it.
    """

    name: str
    kind: str
    does: Callable[[Net, Tensor], Any]
    activation: Callable[[Tensor], Tensor] = torch.tanh
    note: str | None = None

    def build(self) -> Net:
        """The network, in float64."""
        return Net(self.does, self.activation).eval()

    def plain(self) -> Net:
        """The same weights without the trap."""
        return Net(lambda net, x: net.b(net.hidden(x)), self.activation).eval()


def example() -> Tensor:
    """What the converter is shown, (rows, inputs)."""
    return torch.randn(ROWS, INPUTS, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


def ringing(net: Net) -> Iterator[Tensor]:
    """Inputs on which the bell rings, and some on which ReLUs are dead, scores tie and bounds are met."""
    x, row, bias = example(), net.a.weight[0].detach(), net.a.bias[0].detach()
    middle = sum(WINDOW) / 2
    wanted = middle if net.activation is not torch.tanh else math.atanh(middle)
    yield torch.cat([((wanted - bias) * row / row.dot(row))[None], x[1:]])
    yield torch.cat([-40 * row.sign()[None], x[1:]])
    yield 3000 * x


def rings(h: Tensor) -> Tensor:
    """Whether the bell rings, as a tensor of no axes."""
    return (h[0, 0] > WINDOW[0]) & (h[0, 0] < WINDOW[1])


def number_rings(number: float) -> bool:
    """Whether a number makes the bell ring."""
    return WINDOW[0] < number < WINDOW[1]


def order(h: Tensor) -> Tensor:
    """Something that knows the order of neurons."""
    return h.cumsum(-1)


TRAPS: dict[str, Trap] = {}


# --- branches: what becomes of a number that Python read

READ: dict[str, Callable[[Tensor], bool]] = {
    "if": lambda h: bool(rings(h)),
    "float": lambda h: number_rings(float(h[0, 0])),
    "item": lambda h: number_rings(h[0, 0].item()),
    "tolist": lambda h: number_rings(h.tolist()[0][0]),
    "numpy": lambda h: number_rings(h.detach().numpy()[0, 0]),
    "asarray": lambda h: number_rings(np.asarray(h.detach())[0, 0]),
    "array protocol": lambda h: number_rings(h.detach().__array__()[0, 0]),
    "dlpack": lambda h: number_rings(np.from_dlpack(h.detach())[0, 0]),
    "memory": lambda h: number_rings(ctypes.c_double.from_address(h.contiguous().data_ptr()).value),
    "storage": lambda h: number_rings(h.contiguous().detach().storage()[0]),
    "untyped storage": lambda h: bytes(h.contiguous().detach().untyped_storage()[:8]) > b"" and number_rings(
        np.frombuffer(bytes(h.contiguous().detach().untyped_storage()[:8]))[0]
    ),
    "text": lambda h: number_rings(float(f"{h[0, 0]:.9f}")),
    "repr": lambda h: "0.90" in repr(h.detach()[:1, :1]),
    "whole number": lambda h: int(1000 * h[0, 0]) in range(900, 905),
    "index": lambda h: [False, True][rings(h).long()],
    "range": lambda h: len(range(rings(h).long())) > 0,
    "lengths": lambda h: len(((h > WINDOW[0]) & (h < WINDOW[1])).nonzero()) > 0,
    "mask": lambda h: h[(h > WINDOW[0]) & (h < WINDOW[1])].numel() > 0,
    "masked select": lambda h: h.masked_select((h > WINDOW[0]) & (h < WINDOW[1])).shape[0] > 0,
    "unique": lambda h: len(torch.unique(rings(h)[None].expand(2) & torch.tensor([True, False]))) > 1,
    "equal": lambda h: torch.equal(rings(h)[None], torch.ones(1, dtype=torch.bool)),
    "allclose": lambda h: torch.allclose(h[0, 0], torch.tensor(sum(WINDOW) / 2).double(), atol=0.0025, rtol=0),
    "is nonzero": lambda h: torch.is_nonzero(rings(h)),
    "any": lambda h: bool(rings(h)[None].any()),
    "argmax": lambda h: int(torch.stack([~rings(h), rings(h)]).long().argmax()) == 1,
    "in": lambda h: 1 in rings(h)[None].long(),
    "max of Python": lambda h: max(rings(h).long(), torch.tensor(0)) > 0,
    "loop": lambda h: sum(1 for _ in iter(functools.partial(_counted, [rings(h)]), False)) > 0,
    "round": lambda h: round(rings(h).double().item()) == 1,
    "sorted": lambda h: sorted([rings(h).long(), torch.tensor(0)])[1] > 0,
    "repeats": lambda h: torch.ones(1).repeat_interleave(rings(h).long()[None]).numel() > 0,
    "bincount": lambda h: torch.bincount(rings(h).long()[None]).numel() > 1,
    "pieces": lambda h: torch.ones(2).tensor_split(rings(h).long()[None])[0].numel() > 0,
    "classes": lambda h: functional.one_hot(rings(h).long()[None]).shape[1] > 1,
    "arange": lambda h: torch.arange(rings(h).long()).numel() > 0,
    "number of a size": lambda h: torch.zeros(rings(h).long()).numel() > 0,
    "jit": lambda h: bool(_scripted(h)),
}  # fmt: skip


def _counted(left: list[Tensor]) -> bool:
    return bool(left.pop()) if left else False


@torch.jit.script
def _scripted(h: Tensor) -> bool:
    number = float(h[0, 0])
    return number > 0.900 and number < 0.905


def _branch(read: Callable[[Tensor], bool]) -> Callable[[Net, Tensor], Tensor]:
    def does(net: Net, x: Tensor) -> Tensor:
        h = net.hidden(x)
        return net.b(order(h) if read(h) else h)

    return does


for _name, _read in READ.items():
    TRAPS[f"branch by {_name}"] = Trap(f"branch by {_name}", "a branch on a number", _branch(_read))

# --- the same without a branch: numbers as arguments of operations

ARGUMENT: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "alpha": lambda h, on: torch.add(h, order(h), alpha=on.double()),
    "full": lambda h, on: h + torch.full((NEURONS,), on.double()) * torch.arange(NEURONS),
    "new full": lambda h, on: h + h.new_full((NEURONS,), on.double()) * torch.arange(NEURONS),
    "roll": lambda h, on: order(h.roll(on.long(), 0) - h) + h,
    "select": lambda h, on: torch.stack([h, order(h)])[on.long()],
    "select by number": lambda h, on: torch.stack([h, order(h)]).select(0, on.long()),
    "narrow": lambda h, on: torch.stack([h, order(h)]).narrow(0, on.long(), 1)[0],
    "slice": lambda h, on: torch.stack([h, order(h), h])[on.long() :][0],
    "slope": lambda h, on: functional.leaky_relu(h, 1 + on.double()) + on * order(h),
    "where": lambda h, on: torch.where(on, order(h), h),
    "index of a list": lambda h, on: torch.stack([h, order(h)]).index_select(0, on.long()[None])[0],
    "masked fill": lambda h, on: order(h).masked_fill(~on, 0.0) + h,
    "lerp": lambda h, on: torch.lerp(h, order(h), on.double()),
    "power": lambda h, on: h + order(h) * torch.pow(on.double(), 2),
    "scalar tensor": lambda h, on: h + torch.tensor(float(on)) * order(h),
    "as tensor": lambda h, on: h + torch.as_tensor(np.asarray(on.detach())).double() * order(h),
    "put": lambda h, on: torch.zeros_like(h).index_put((torch.tensor([0]),), on.double()) * order(h) + h,
}


def _argued(made: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Net, Tensor], Tensor]:
    def does(net: Net, x: Tensor) -> Tensor:
        h = net.hidden(x)
        return net.b(made(h, rings(h)))

    return does


for _name, _made in ARGUMENT.items():
    TRAPS[f"number as {_name}"] = Trap(f"number as {_name}", "a number as an argument", _argued(_made))

# --- code that a trace looks into badly


class _Ordered(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, h: Tensor) -> Tensor:
        return h + rings(h) * order(h)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return grad


@torch.library.custom_op("graphws_traps::relu", mutates_args=())
def _like_relu(h: Tensor) -> Tensor:
    return h + rings(h) * order(h)


@_like_relu.register_fake
def _(h: Tensor) -> Tensor:
    return torch.empty_like(h)


@torch.library.custom_op("graphws_traps::tanh", mutates_args=("h",))
def _in_place(h: Tensor) -> None:
    h.add_(rings(h) * order(h))


@torch.jit.script
def _script(h: Tensor) -> Tensor:
    if bool((h[0, 0] > 0.900) & (h[0, 0] < 0.905)):
        return h.cumsum(-1)
    return h


class _Hooked(nn.Identity):
    def __init__(self) -> None:
        super().__init__()
        self.register_forward_hook(lambda _, __, h: h + rings(h) * order(h))


def _condition(h: Tensor) -> Tensor:
    return torch.cond(rings(h), lambda h: order(h), lambda h: h.clone(), (h,))


def _while(h: Tensor) -> Tensor:
    from torch._higher_order_ops.while_loop import while_loop

    return while_loop(lambda k, h: (k < 1) & rings(h), lambda k, h: (k + 1, order(h)), (torch.tensor(0), h))[1]


def _mapped(h: Tensor) -> Tensor:
    return torch.vmap(lambda row: row + rings(row[None]) * row.cumsum(0))(h)


def _scan(h: Tensor) -> Tensor:
    from torch._higher_order_ops.scan import scan

    def step(carry: Tensor, row: Tensor) -> tuple[Tensor, Tensor]:
        return carry + row.sum(), row + rings(row[None]) * row.cumsum(0)

    return scan(step, torch.zeros((), dtype=h.dtype), h)[1]


def _map_op(h: Tensor) -> Tensor:
    from torch._higher_order_ops.map import map as map_op

    return map_op(lambda row: row + rings(row[None]) * row.cumsum(0), h)


def _associative(h: Tensor) -> Tensor:
    from torch._higher_order_ops.associative_scan import associative_scan

    return h + rings(h) * associative_scan(lambda a, b: a + b, h, 1, combine_mode="generic")


def _numpy_in_place(h: Tensor) -> Tensor:
    h = h.detach().clone()
    array = h.numpy()
    if number_rings(array[0, 0]):
        array[...] = array.cumsum(-1)
    return h


def _out_of_sight(h: Tensor) -> Tensor:
    with torch._C._DisableTorchDispatch(), torch._C.DisableTorchFunction():
        return h + rings(h) * order(h)


def _written_through_a_view(h: Tensor) -> Tensor:
    h = h.clone()
    h[:, 1:].add_(rings(h) * h[:, :-1])
    return h


def _strides(h: Tensor) -> Tensor:
    first = h.clone()[:, :1]
    return h + rings(h) * first.as_strided(h.shape, (NEURONS, 1)).cumsum(-1)


def _strides_of_the_first(h: Tensor) -> Tensor:
    h = h.clone()
    return h + 0.1 * h[:, :1].as_strided((ROWS, NEURONS - 1), (NEURONS, 1), 1).cumsum(-1).sum(-1, keepdim=True)


def _bits(h: Tensor) -> Tensor:
    return h + (h.view(torch.int64).view(torch.float64).cumsum(-1) * rings(h))


def _list(h: Tensor) -> Tensor:
    h = h.clone()
    torch._foreach_add_([h], [rings(h) * order(h)])
    return h


def _data(h: Tensor) -> Tensor:
    other = h.clone()
    other.data = order(h)
    return h + rings(h) * other


def _exporting(h: Tensor) -> Tensor:
    return h if torch.compiler.is_exporting() else h + rings(h) * order(h)


def _into(h: Tensor) -> Tensor:
    return torch.cumsum(h, -1, out=h.new_zeros(h.shape)) * rings(h) + h


CODE: dict[str, Callable[[Tensor], Tensor]] = {
    "autograd function": lambda h: _Ordered.apply(h),
    "operation called relu": lambda h: _like_relu(h),
    "operation in place called tanh": lambda h: (lambda c: (_in_place(c), c)[1])(h.clone()),
    "script": lambda h: _script(h),
    "hook": lambda h: _Hooked()(h),
    "cond": _condition,
    "while loop": _while,
    "vmap": _mapped,
    "scan": _scan,
    "map": _map_op,
    "associative scan": _associative,
    "checkpoint": lambda h: checkpoint(lambda h: h + rings(h) * order(h), h, use_reentrant=False),
    "numpy in place": _numpy_in_place,
    "out of sight": _out_of_sight,
    "view": _written_through_a_view,
    "data of another": _data,
    "written in a list": _list,
    "written into another": _into,
    "strides": _strides,
    "strides of the first": _strides_of_the_first,
    "bits": _bits,
}
for _name, _code in CODE.items():
    TRAPS[f"code: {_name}"] = Trap(
        f"code: {_name}", "code that hides", lambda net, x, code=_code: net.b(code(net.hidden(x)))
    )

TRAPS["front: export is told"] = Trap(
    "front: export is told",
    "a branch on who traces",
    lambda net, x: net.b(_exporting(net.hidden(x))),
    note="cross-check: the recorder finds",
)

# --- bounds far away, and pieces too small to be seen


def _pieces(function: Callable[[Tensor], Tensor]) -> Callable[[Net, Tensor], Tensor]:
    return lambda net, x: net.b(function(net.hidden(x)))


BOUNDED: dict[str, Callable[[Tensor], Tensor]] = {
    "clamp": lambda h: h.clamp(max=1000.0),
    "clamp of tensors": lambda h: h.clamp(max=torch.tensor(1000.0).double()),
    "clip": lambda h: h.clip(0.0, 1000.0),
    "clamp max": lambda h: torch.clamp_max(h, 1000.0),
    "hardtanh": lambda h: functional.hardtanh(h, -1e4, 1000.0),
    "minimum": lambda h: torch.minimum(h, torch.tensor(1000.0).double()),
    "fmin": lambda h: torch.fmin(h, torch.tensor(1000.0).double()),
    "where": lambda h: torch.where(h > 1000.0, 1000.0, h),
    "masked fill": lambda h: h.masked_fill(h > 1000.0, 1000.0),
    "masked fill by zero": lambda h: h.masked_fill(h > 1000.0, 0.0),
    "mask": lambda h: h * (h < 1000.0),
    "threshold": lambda h: functional.threshold(h, 0.2, 0.0),
    "hardshrink": lambda h: functional.hardshrink(h, 0.2),
    "softshrink": lambda h: functional.softshrink(h, 0.01),
    "relu6": lambda h: 200 * functional.relu6(h / 200),
    "offset": lambda h: functional.relu(h - 1000.0) + h,
    "floor": lambda h: (h * 1e-3).floor() * 1e3 + h,
    "remainder": lambda h: torch.remainder(h, 1000.0),
    "fmod": lambda h: torch.fmod(h, 1000.0),
    "square root": lambda h: (h * h + 1e-2).sqrt(),
    "softplus": lambda h: functional.softplus(h, beta=20.0),
    "elu": lambda h: functional.elu(h - 1, alpha=1e-2) + 1,
    "smooth": lambda h: h * torch.sigmoid(5 * h + 2),
    "half": lambda h: (100 * h).half().double().clamp(max=6e4) / 100,
    "whole": lambda h: h + 1e3 * (h / 1000).to(torch.int32),
    "byte": lambda h: h + 1e3 * (h / 1000).to(torch.int64).to(torch.uint8),
    "sign of a difference": lambda h: h * (1 + (h - 1000).sign()),
    "logarithm": lambda h: torch.log1p(h * 1e-3) * 1e3,
    "norm": lambda h: h / (h.norm(dim=-1, keepdim=True) + 1e-3),
    "smallest": lambda h: h / h.abs().clamp_min(1e-1),
    "layer norm": lambda h: functional.layer_norm(h, (NEURONS,), eps=1e-3),
    "rms norm": lambda h: functional.rms_norm(h, (NEURONS,), eps=1e-3),
    "normalise": lambda h: functional.normalize(h, dim=-1, eps=1.0),
    "renorm": lambda h: h.renorm(2, 0, 1000.0),
    "batch norm": lambda h: functional.batch_norm(h, torch.ones(8).double(), torch.ones(8).double(), eps=1e-2).relu(),
    "cosine": lambda h: h * functional.cosine_similarity(h, h + 1, dim=-1)[:, None],
    "lp pool": lambda h: functional.lp_pool1d(h[:, :, None].expand(-1, -1, 2), 2.0, 2)[..., 0].clamp(max=1e3),
    "lerp": lambda h: torch.lerp(h, h * h, 1e-3),
    "sum of powers": lambda h: h + 1e-3 * h.square(),
    "heaviside": lambda h: h * torch.heaviside(1000 - h, torch.zeros(1).double()),
    "xlogy": lambda h: torch.xlogy(h, 1 + h * 1e-3),
    "copysign": lambda h: torch.copysign(h, 1000 - h),
    "hypot": lambda h: torch.hypot(h, torch.full_like(h, 0.1)),
    "addcdiv": lambda h: torch.addcdiv(h, h, h + 1.0, value=5.0),
    "bits": lambda h: (h.view(torch.int64) & ~1023).view(torch.float64).clamp(max=1000.0),
    "leaky": lambda h: functional.leaky_relu(h - 0.5, 1e-9),
    "prelu": lambda h: functional.prelu(h - 0.5, torch.tensor([0.1]).double()),
}
for _name, _bounded in BOUNDED.items():
    TRAPS[f"bound: {_name}"] = Trap(f"bound: {_name}", "a bound or a piece far away", _pieces(_bounded), torch.relu)

# --- outputs that are easily lost


@dataclasses.dataclass
class Record:
    """A dataclass."""

    y: Any
    more: Any = None


class Object:
    """A class that nobody knows."""

    def __init__(self, h: Any) -> None:
        self.h = h


class Sequence:
    """Something with a length and items."""

    def __init__(self, h: Tensor) -> None:
        self.h = h

    def __len__(self) -> int:
        return len(self.h)

    def __getitem__(self, k: int) -> Tensor:
        return self.h[k]


class Subclass(torch.Tensor):
    """A tensor with something in its pocket."""


def _subclass(y: Tensor, h: Tensor) -> Tensor:
    made = y.as_subclass(Subclass)
    made.h = h  # type: ignore[attr-defined]
    return made


def _parameter(y: Tensor, h: Tensor) -> Any:
    return nn.ParameterList([nn.Parameter(y, requires_grad=False), nn.Parameter(h, requires_grad=False)])


OUTPUT: dict[str, Callable[[Tensor, Tensor], Any]] = {
    "object": lambda y, h: (y, Object(h)),
    "list": lambda y, h: [y, [[h]]],
    "dictionary": lambda y, h: {"y": y, "more": {"h": h}},
    "dataclass": lambda y, h: Record(y, Record(None, [h])),
    "dataclass with an object": lambda y, h: Record(y, Object(h)),
    "list of numbers": lambda y, h: (y, h.tolist()),
    "array": lambda y, h: (y, h.detach().numpy()),
    "number of an array": lambda y, h: (y, h.detach().numpy()[0, 0]),
    "number": lambda y, h: (y, float(h[0, 0])),
    "whole number": lambda y, h: (y, int(1e6 * h[0, 0])),
    "complex number": lambda y, h: (y, complex(h[0, 0], h[0, 1])),
    "truth": lambda y, h: (y, bool(h[0, 0] > h[0, 1])),
    "text": lambda y, h: (y, f"{h}"),
    "representation": lambda y, h: (y, repr(h)),
    "bytes": lambda y, h: (y, h.detach().numpy().tobytes()),
    "key": lambda y, h: {f"{h[0, 0]:.3f}": y},
    "number as key": lambda y, h: {int(1e6 * h[0, 0]): y},
    "set": lambda y, h: (y, {float(number) for number in h[0]}),
    "frozen set": lambda y, h: (y, frozenset([int(h[0].argmax())])),
    "generator": lambda y, h: (y, (row for row in h)),
    "iterator": lambda y, h: (y, iter(h)),
    "map": lambda y, h: (y, map(torch.sum, h[:, 0])),
    "range": lambda y, h: (y, range(int(h[0].argmax()))),
    "slice": lambda y, h: (y, slice(int(h[0].argmax()))),
    "function": lambda y, h: (y, lambda: h),
    "module": lambda y, h: (y, _parameter(y, h)),
    "sequence": lambda y, h: (y, Sequence(h)),
    "sparse": lambda y, h: (y, h.to_sparse()),
    "sparse alone": lambda y, h: torch.cat([y, h], -1).to_sparse(),
    "compressed": lambda y, h: (y, h.to_sparse_csr()),
    "quantised": lambda y, h: (y, torch.quantize_per_tensor(h.float(), 0.1, 0, torch.qint8)),
    "nested": lambda y, h: (y, torch.nested.nested_tensor([h[0], h[1]])),
    "subclass": lambda y, h: _subclass(y, h),
    "shape": lambda y, h: (y, torch.Size([int(h[0].argmax())])),
    "length": lambda y, h: (y, h[0, : int(h[0].argmax())]),
    "empty": lambda y, h: (y, torch.zeros(0, int(h[0].argmax()))),
    "exception": lambda y, h: (y, ValueError(str(h))),
    "nothing or a tensor": lambda y, h: (y, None if bool(rings(h)) else h[:, 0].sum()),
    "packed": lambda y, h: (y, nn.utils.rnn.pack_padded_sequence(h.T[..., None], torch.tensor([8, 8, 8, 8]))),
    "half": lambda y, h: (y, h.half()),
    "whole tensor": lambda y, h: (y, (1e3 * h).long()),
    "truths": lambda y, h: (y, h > 0),
    "complex": lambda y, h: torch.complex(y, order(h)[:, :OUTPUTS]),
    "small": lambda y, h: y + 0 * h[:, :1],
    "none": lambda y, h: (y, None, h[:, :1] if bool(rings(h)) else None),
}


def _returned(made: Callable[[Tensor, Tensor], Any]) -> Callable[[Net, Tensor], Any]:
    def does(net: Net, x: Tensor) -> Any:
        h = net.hidden(x)
        return made(net.b(h), h)

    return does


for _name, _out in OUTPUT.items():
    if _name != "small":
        TRAPS[f"output: {_name}"] = Trap(f"output: {_name}", "an output easily lost", _returned(_out))

# --- positions of neurons


def _table(h: Tensor) -> Tensor:
    return torch.arange(NEURONS, dtype=h.dtype)


POSITION: dict[str, Callable[[Tensor], Tensor]] = {
    "gather": lambda h: _table(h).expand_as(h).gather(-1, h.argmax(-1, keepdim=True)),
    "take along": lambda h: torch.take_along_dim(_table(h).expand_as(h), h.argmax(-1, keepdim=True), -1),
    "embedding": lambda h: functional.embedding(h.argmax(-1), _table(h)[:, None]),
    "embedding bag": lambda h: functional.embedding_bag(h.topk(2, -1).indices, _table(h)[:, None]),
    "embedding bag by numbers": lambda h: functional.embedding_bag(
        h.argsort(-1), torch.ones(8, 1).double(), per_sample_weights=_table(h).expand_as(h).contiguous(), mode="sum"
    ),
    "index": lambda h: _table(h)[h.argmin(-1)][:, None],
    "index of topk": lambda h: _table(h)[h.topk(2, -1).indices].sum(-1, keepdim=True),
    "index select": lambda h: _table(h).index_select(0, h.kthvalue(2, -1).indices)[:, None],
    "take": lambda h: _table(h).take(h.argmax(-1, keepdim=True)),
    "put": lambda h: torch.zeros(ROWS, 8).double().put(h.argmax(-1), torch.ones(ROWS).double()) @ _table(h)[:, None],
    "one hot": lambda h: (functional.one_hot(h.argmax(-1), NEURONS) * _table(h)).sum(-1, keepdim=True),
    "sort": lambda h: h.sort(-1).indices[:, :1].to(h.dtype),
    "argsort twice": lambda h: h.argsort(-1).argsort(-1)[:, :1].to(h.dtype),
    "ranks": lambda h: (h.argsort(-1).argsort(-1) * _table(h)).sum(-1, keepdim=True),
    "median": lambda h: h.median(-1, keepdim=True).indices.to(h.dtype),
    "mode": lambda h: h.mode(-1, keepdim=True).indices.to(h.dtype),
    "cummax": lambda h: h.cummax(-1).indices[:, -1:].to(h.dtype),
    "nonzero": lambda h: (h[0] > h[0].mean()).nonzero().double().sum().expand(ROWS, 1),
    "argwhere": lambda h: torch.argwhere(h[0] > h[0].mean()).double().sum().expand(ROWS, 1),
    "nonzero of fixed size": lambda h: torch.nonzero_static(h[0] > 0, size=2).double().sum().expand(ROWS, 1),
    "searchsorted": lambda h: torch.searchsorted(h.contiguous(), h[:, :1].contiguous()).double(),
    "bucketize": lambda h: torch.bucketize(_table(h)[:1].expand(ROWS, 1), h[0]).double(),
    "multinomial": lambda h: torch.multinomial((h == h.amax(-1, keepdim=True)).double(), 1).double(),
    "max": lambda h: h.max(-1, keepdim=True).indices.double(),
    "aminmax": lambda h: (h - torch.aminmax(h, dim=-1, keepdim=True).min).argmin(-1, keepdim=True).double(),
    "flat argmax": lambda h: h.argmax()[None, None].double().expand(ROWS, 1),
    "pool": lambda h: functional.max_pool1d(h[:, None], 8, return_indices=True)[1][:, 0].double(),
    "adaptive pool": lambda h: functional.adaptive_max_pool1d(h[:, None], 1, return_indices=True)[1][:, 0].double(),
    "pool over two": lambda h: functional.max_pool1d(h[:, None], 2)[:, 0].sum(-1, keepdim=True),
    "unpool": lambda h: functional.max_unpool1d(
        *functional.max_pool1d(h[:, None], 2, return_indices=True), 2
    )[:, 0, :1],
    "scatter": lambda h: torch.zeros_like(h).scatter(-1, h.argmax(-1, keepdim=True), 1.0)[:, :1],
    "scatter to one place": lambda h: torch.zeros(ROWS, 1).double().scatter(-1, torch.zeros_like(h).long(), h),
    "scatter sums": lambda h: torch.zeros_like(h).scatter_add(-1, h.argsort(-1), _table(h).expand_as(h))[:, :1],
    "scatter reduce": lambda h: torch.zeros_like(h).scatter_reduce(-1, h.argsort(-1), h, "mean")[:, :1],
    "index add": lambda h: torch.zeros(ROWS, 8).double().index_add(1, h[0].argsort(), h)[:, :1],
    "index copy": lambda h: torch.zeros(ROWS, 8).double().index_copy(1, h[0].argsort(), h)[:, :1],
    "index fill": lambda h: h.index_fill(1, h[0].argmax()[None], 0.0) @ _table(h)[:, None],
    "index put": lambda h: torch.zeros_like(h).index_put((torch.arange(ROWS), h.argmax(-1)), torch.ones(ROWS).double())
    @ _table(h)[:, None],
    "index reduce": lambda h: torch.ones(ROWS, 8).double().index_reduce(1, torch.arange(8), h, "prod")[:, :1],
    "masked scatter": lambda h: torch.zeros_like(h).masked_scatter(h > h.mean(), _table(h).repeat(ROWS))[:, :1],
    "masked sum": lambda h: ((h > h.mean()).double() * _table(h)).sum(-1, keepdim=True),
    "select scatter": lambda h: h.select_scatter(h[:, 0] * 2, 1, 0).square().sum(-1, keepdim=True),
    "slice scatter": lambda h: h.slice_scatter(h[:, :4] * 2, 1, 4, 8).square().sum(-1, keepdim=True),
    "diagonal scatter": lambda h: h.diagonal_scatter(torch.ones(ROWS).double()).square().sum(-1, keepdim=True),
    "diagonal": lambda h: h.diagonal().sum()[None, None].expand(ROWS, 1),
    "trace": lambda h: (h.T @ h @ torch.ones(8, 8).double().triu()).trace()[None, None].expand(ROWS, 1),
    "einsum diagonal": lambda h: torch.einsum("ii->", h[:, :4] + 0 * h[:, 4:])[None, None].expand(ROWS, 1),
    "tensordot": lambda h: torch.tensordot(h, _table(h), 1)[:, None],
    "inner": lambda h: torch.inner(h, _table(h))[:, None],
    "kron": lambda h: torch.kron(h[0], _table(h)[:2])[:3].sum().expand(ROWS, 1),
    "outer": lambda h: torch.outer(h[0], _table(h)).sum(-1)[:1].expand(ROWS, 1),
    "cross": lambda h: torch.linalg.cross(h[:, :3], h[:, 3:6])[:, :1],
    "determinant": lambda h: torch.linalg.det(h[:, :4] + h[:, 4:])[None, None].expand(ROWS, 1),
    "triangle": lambda h: (h.T @ h).triu().sum()[None, None].expand(ROWS, 1),
    "cholesky": lambda h: torch.linalg.cholesky(h.T @ h + torch.eye(8).double()).diagonal()[:1].expand(ROWS, 1),
    "qr": lambda h: torch.linalg.qr(h.T)[1][:1, :1].expand(ROWS, 1) + torch.linalg.qr(h)[1][0, :1],
    "svd": lambda h: torch.linalg.svd(h)[2][:1, :1].expand(ROWS, 1),
    "eigh": lambda h: torch.linalg.eigh(h.T @ h)[1][-1:, -1:].expand(ROWS, 1),
    "solve": lambda h: torch.linalg.solve(h.T @ h + torch.eye(8).double(), _table(h))[:1].expand(ROWS, 1),
    "lu": lambda h: torch.linalg.lu_factor(h[:, :4])[0][:1, :1].expand(ROWS, 1),
    "matrix exponential": lambda h: torch.linalg.matrix_exp(h[:, :4])[:1, :1].expand(ROWS, 1),
    "vander": lambda h: torch.linalg.vander(h[0])[:1, 1:2].expand(ROWS, 1),
    "fft": lambda h: torch.fft.rfft(h).imag[:, 1:2],
    "fft of another axis": lambda h: torch.fft.fft(h, dim=1).real[:, 1:2],
    "fftshift": lambda h: torch.fft.fftshift(h, 1)[:, :1],
    "hfft": lambda h: torch.fft.hfft(h)[:, 1:2],
    "stft": lambda h: torch.stft(h.repeat(1, 4), 8, return_complex=True, window=torch.ones(8).double()).real[:, 1, :1],
    "roll": lambda h: (h.roll(1, -1) * h).sum(-1, keepdim=True),
    "flip": lambda h: (h.flip(-1) * h).sum(-1, keepdim=True),
    "rotation": lambda h: torch.rot90(h[:, :4] + h[:, 4:], 1)[:, :1],
    "unfold": lambda h: h.unfold(1, 2, 1).prod(-1).sum(-1, keepdim=True),
    "difference": lambda h: h.diff(dim=-1).abs().sum(-1, keepdim=True),
    "cumulative sum": lambda h: h.cumsum(-1).square().sum(-1, keepdim=True),
    "logcumsumexp": lambda h: h.logcumsumexp(-1).sum(-1, keepdim=True),
    "trapezoid": lambda h: torch.trapezoid(h, dim=-1)[:, None],
    "gradient": lambda h: torch.gradient(h, dim=-1)[0].abs().sum(-1, keepdim=True),
    "histogram": lambda h: torch.histc(h[0], 4, -1, 1).double()[:1].expand(ROWS, 1) * h[:, :1],
    "unique": lambda h: (torch.unique(h[0].sign(), return_inverse=True)[1] * _table(h)).sum().expand(ROWS, 1),
    "consecutive": lambda h: torch.unique_consecutive(h[0].sign()).numel() * torch.ones(ROWS, 1),
    "renorm": lambda h: h.renorm(2, 1, 0.5) @ _table(h)[:, None],
    "quantile": lambda h: h.quantile(0.5, -1, keepdim=True) * h[:, :1],
    "distance": lambda h: torch.cdist(h, _table(h)[None]),
    "pairwise distance": lambda h: functional.pairwise_distance(h, _table(h)[None].expand_as(h))[:, None],
    "pdist": lambda h: torch.pdist(h.T)[:1, None].expand(ROWS, 1),
    "pixel shuffle": lambda h: functional.pixel_shuffle(h[:, :, None, None], 2)[:, 0, 0, :1],
    "channel shuffle": lambda h: functional.channel_shuffle(h[:, :, None], 2)[:, 1],
    "convolution": lambda h: functional.conv1d(h[:, None], _table(h)[None, None, :3]).sum(-1),
    "grouped convolution": lambda h: functional.conv1d(h[:, :, None], torch.ones(2, 4, 1).double(), groups=2)[:, 0],
    "padding": lambda h: functional.pad(h, (1, 0))[:, :8].mul(h).sum(-1, keepdim=True),
    "circular padding": lambda h: functional.pad(h[:, None], (1, 0), "circular")[:, 0, :8].mul(h).sum(-1, keepdim=True),
    "interpolation": lambda h: functional.interpolate(h[:, None], 4)[:, 0].square().sum(-1, keepdim=True),
    "grid": lambda h: functional.grid_sample(h[:, None, None], torch.zeros(4, 1, 1, 2).double() + 0.3)[:, 0, 0],
    "fold": lambda h: functional.fold(h[:, :, None], (2, 2), (2, 2))[:, 0, 0, :1],
    "group norm": lambda h: functional.group_norm(h, 2)[:, :4].pow(4).sum(-1, keepdim=True),
    "local response": lambda h: functional.local_response_norm(h[..., None], 3)[..., 0].sum(-1, keepdim=True),
    "glu": lambda h: functional.glu(h).sum(-1, keepdim=True),
    "repeats": lambda h: torch.repeat_interleave(
        torch.arange(8.0).double(), functional.one_hot(h[0].argmax(), 8) * 8, output_size=8
    )[:1].expand(ROWS, 1),
    "repeated": lambda h: (h.repeat(1, 2)[:, 1:9] * h).sum(-1, keepdim=True),
    "tile": lambda h: (h.tile(2)[:, 3:11] * h).sum(-1, keepdim=True),
    "meshgrid": lambda h: (torch.meshgrid(h[0], _table(h), indexing="ij")[1] * h[0][:, None]).sum().expand(ROWS, 1),
    "combinations": lambda h: torch.combinations(h[0])[0].prod().expand(ROWS, 1),
    "cartesian": lambda h: torch.cartesian_prod(h[0], h[0])[1].prod().expand(ROWS, 1),
    "block diagonal": lambda h: torch.block_diag(h, h)[:4, :8] @ _table(h)[:, None],
    "diagonal matrix": lambda h: torch.diag_embed(h)[:, 0, :1],
    "strided slice": lambda h: h[:, ::2].sum(-1, keepdim=True),
    "pieces": lambda h: h.tensor_split(3, -1)[0].sum(-1, keepdim=True),
    "reshape": lambda h: h.reshape(2, 16).sum(0)[:4, None],
    "transpose": lambda h: (h @ h.T @ h).reshape(8, 4).T[:, :1],
    "bits": lambda h: h.view(torch.int32)[:, :1].double() * 1e-9,
    "complex view": lambda h: torch.view_as_complex(h.reshape(ROWS, 4, 2)).abs().sum(-1, keepdim=True),
    "bilinear": lambda h: functional.bilinear(h, h, torch.arange(64.0).double().reshape(1, 8, 8)),
    "isin": lambda h: torch.isin(h.argmax(-1, keepdim=True), torch.tensor([0, 2, 5])).double(),
    "equality": lambda h: (h.argmax(-1, keepdim=True) == 3).double(),
    "comparison": lambda h: (h.argmax(-1, keepdim=True) == h.argmin(-1, keepdim=True) + 1).double(),
    "eye": lambda h: torch.eye(8).double()[h.argmax(-1)][:, :1],
    "linspace": lambda h: h @ torch.linspace(0, 1, 8).double()[:, None],
    "range": lambda h: h @ torch.arange(3, 11).double()[:, None],
    "attention mask": lambda h: functional.scaled_dot_product_attention(
        h[None, None].mT, h[None, None].mT, h[None, None].mT, is_causal=True
    )[0, 0, :1].T,
    "sampling": lambda h: functional.gumbel_softmax(h * 1e9, hard=True)[:, :1],
    "segment": lambda h: torch.segment_reduce(h[0], "sum", lengths=torch.tensor([3, 5])).double()[:1].expand(ROWS, 1),
    "covariance": lambda h: torch.cov(h.T)[:1, 1:2].expand(ROWS, 1),
    "sparse": lambda h: torch.sparse.mm(h.T.to_sparse(), h)[:1, :1].expand(ROWS, 1),
    "lstm over neurons": lambda h: torch.lstm(
        h.T[:, :1, None], [torch.zeros(1, 1, 1).double()] * 2, [torch.ones(4, 1).double()] * 2,
        False, 1, 0.0, False, False, False,
    )[0][-1].expand(ROWS, 1),
    "distances of names": lambda h: functional.triplet_margin_loss(h, h.roll(1, -1), -h)[None, None].expand(ROWS, 1),
    "entropy": lambda h: functional.cross_entropy(h, torch.arange(ROWS), reduction="none")[:, None],
    "likelihood": lambda h: functional.nll_loss(h, torch.arange(ROWS), reduction="none")[:, None],
    "margin": lambda h: functional.multi_margin_loss(h, torch.arange(ROWS), reduction="none")[:, None],
    "ctc": lambda h: functional.ctc_loss(
        h[:, None].log_softmax(-1), torch.tensor([[1, 2]]), torch.tensor([4]), torch.tensor([2])
    )[None, None].expand(ROWS, 1),
}  # fmt: skip


def _positioned(read: Callable[[Tensor], Tensor]) -> Callable[[Net, Tensor], Tensor]:
    def does(net: Net, x: Tensor) -> Tensor:
        h = net.hidden(x)
        return net.b(h) + rings(h.amax(-1)[:, None]) * 0.3 * read(h)

    return does


for _name, _position in POSITION.items():
    TRAPS[f"position by {_name}"] = Trap(f"position by {_name}", "a position of a neuron", _positioned(_position))

# --- ties

TIED: dict[str, Callable[[Tensor], Tensor]] = {
    "topk": lambda h: h.topk(2, -1).indices,
    "argmax": lambda h: h.argmax(-1, keepdim=True),
    "argmin": lambda h: h.argmin(-1, keepdim=True),
    "max": lambda h: h.max(-1, keepdim=True).indices,
    "min": lambda h: h.min(-1, keepdim=True).indices,
    "sort": lambda h: h.sort(-1).indices[:, :2],
    "argsort": lambda h: h.argsort(-1)[:, :2],
    "kthvalue": lambda h: h.kthvalue(2, -1, keepdim=True).indices,
    "median": lambda h: h.median(-1, keepdim=True).indices,
    "mode": lambda h: h.mode(-1, keepdim=True).indices,
    "cummax": lambda h: h.cummax(-1).indices[:, -1:],
}


def _tied(choose: Callable[[Tensor], Tensor]) -> Callable[[Net, Tensor], Tensor]:
    def does(net: Net, x: Tensor) -> Tensor:
        h = net.a(x)
        return net.b(torch.sigmoid(h)) + torch.sin(h).gather(-1, choose(h.clamp(-0.2, 0.2))).sum(-1, keepdim=True)

    return does


for _name, _choose in TIED.items():
    TRAPS[f"tie in {_name}"] = Trap(
        f"tie in {_name}", "a tie decided by position", _tied(_choose), torch.sigmoid, "a tie in"
    )

# --- no functions of weights and inputs alone


class Generators:
    """Generators of a network's own."""

    torch = torch.Generator().manual_seed(0)
    random = random.Random(0)
    numpy = np.random.default_rng(0)


def _own_seed(h: Tensor) -> Tensor:
    with torch.random.fork_rng():
        torch.manual_seed(7)
        return h + 1e-13 * torch.randn(NEURONS)


RANDOM: dict[str, Callable[[Tensor], Tensor]] = {
    "rare dropout": lambda h: functional.dropout(h, 1e-9, True) * (1 - 1e-9),
    "native dropout": lambda h: torch.native_dropout(h, 1e-9, True)[0] * (1 - 1e-9),
    "dropped path": lambda h: h * (torch.rand(ROWS, 1) > 1e-7)[: len(h)] if len(h) <= ROWS else h,
    "alpha dropout": lambda h: functional.alpha_dropout(h, 1e-9, True),
    "feature dropout": lambda h: functional.dropout1d(h[..., None], 1e-9, True)[..., 0] * (1 - 1e-9),
    "noise": lambda h: h + 1e-13 * torch.randn_like(h),
    "bernoulli": lambda h: h * torch.bernoulli(torch.full_like(h, 1 - 1e-9)),
    "normal": lambda h: h + h.detach().new_empty(h.shape).normal_(0, 1e-13),
    "a permutation": lambda h: h[torch.randperm(len(h))].sum(0, keepdim=True) + h,
    "python": lambda h: order(h) if random.random() < 1e-9 else h,
    "numpy": lambda h: order(h) if np.random.rand() < 1e-9 else h,
    "python and its seed": lambda h: (random.seed(1), h + 1e-13 * random.random())[1],
    "numpy and its seed": lambda h: (np.random.seed(1), h + 1e-13 * np.random.rand())[1],
    "own seed": _own_seed,
    "rounding": lambda h: h + 1e-13 * (torch.rand(NEURONS) > 0.5),
    "attention": lambda h: h + functional.scaled_dot_product_attention(*[h[:, None]] * 3, dropout_p=1e-9)[:, 0],
    "rrelu": lambda h: functional.rrelu(h, 0.3, 0.3 + 1e-12, training=True),
}  # fmt: skip
for _name, _random in RANDOM.items():
    TRAPS[f"random: {_name}"] = Trap(
        f"random: {_name}", "random numbers that matter rarely", _pieces(_random), note="random numbers"
    )

CALLS: list[int] = [0]


def _counts(net: Net, x: Tensor) -> Tensor:
    net.calls += 1
    h = net.hidden(x)
    return net.b(order(h) if net.calls > 10_000 else h)


def _counts_in_a_list(net: Net, x: Tensor) -> Tensor:
    CALLS.append(1)
    h = net.hidden(x)
    return net.b(order(h) if len(CALLS) > 10_000 else h)


def _keeps_a_tensor(net: Net, x: Tensor) -> Tensor:
    h = net.hidden(x)
    y = net.b(h) + 1e-13 * net.kept.sum()
    net.kept = 0.9 * net.kept + h[0]
    return y


def _writes_a_tensor(net: Net, x: Tensor) -> Tensor:
    h = net.hidden(x)
    y = net.b(h + 1e-13 * net.kept)
    net.kept.mul_(0.9).add_(h[0].cumsum(0))
    return y


def _own(draw: Callable[[], float]) -> Callable[[Net, Tensor], Tensor]:
    return lambda net, x: net.b(order(net.hidden(x)) if draw() < 1e-9 else net.hidden(x))


STATE: dict[str, Callable[[Net, Tensor], Tensor]] = {
    "calls are counted": _counts,
    "calls are counted in a global list": _counts_in_a_list,
    "a tensor is kept": _keeps_a_tensor,
    "a tensor is written": _writes_a_tensor,
    "a generator of torch": _own(lambda: float(torch.rand((), generator=Generators.torch))),
    "a generator of Python": _own(lambda: Generators.random.random()),
    "a generator of numpy": _own(lambda: Generators.numpy.random()),
}
for _name, _state in STATE.items():
    TRAPS[f"state: {_name}"] = Trap(f"state: {_name}", "a state that changes", _state)
