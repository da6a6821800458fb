"""Modules as scripts hold them: wrapped, pruned, with caches, hooks, locks: converted like the plain one or refused."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize, prune, spectral_norm, weight_norm
from torch.optim.swa_utils import AveragedModel

from graphws.checkpoints.conversion import Conversion
from graphws.errors import UsageError, VerificationError
from graphws_converters.algebra.dims import Dim, product, total
from graphws_converters.algebra.tensors import Abstract, Leg
from graphws_converters.analysis.blocks import blocks, settle
from graphws_converters.modules.conversion import convert_module
from graphws_converters.modules.copying import copied
from graphws_converters.modules.packed import refuse_packed

HIDDEN = (7, 6)
ORDER = sum(math.lgamma(n + 1) / math.log(10) for n in HIDDEN)


def _rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class Net(nn.Module):
    """4 -> 7 -> 6 -> 2 with ReLU: S_7 x S_6."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b, self.c = nn.Linear(4, 7), nn.Linear(7, 6), nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.c(torch.relu(self.b(torch.relu(self.a(x)))))
        return y


def _x(n: int = 5) -> Tensor:
    return torch.randn(n, 4, generator=_rng(1))


def _converted(module: nn.Module) -> Conversion:
    """A conversion, with the law of state dicts, and with the user's module as it was."""
    before = {key: tensor.detach().clone() for key, tensor in module.state_dict().items()}
    found = convert_module(module, _x(), generator=_rng())
    assert found.weights is not None
    for state in (found.weights.to_state_dict(), module.state_dict()):
        assert list(state) == list(before)
        assert all(torch.equal(state[key], before[key]) for key in before)
    return found


def _compiled() -> nn.Module:
    return torch.compile(Net())  # type: ignore[return-value]


def _compiled_in_place() -> nn.Module:
    net = Net()
    net.compile()
    return net


def _compiled_child() -> nn.Module:
    net = Net()
    net.b = torch.compile(net.b)  # type: ignore[assignment]
    return net


def _pruned() -> nn.Module:
    net = Net()
    prune.random_unstructured(net.b, "weight", 0.5)
    return net


def _pruned_by_rows() -> nn.Module:
    net = Net()
    prune.ln_structured(net.b, "weight", 0.25, n=2, dim=0)
    return net


def _normed(norm: Callable[[nn.Module], nn.Module]) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        net = Net()
        net.b = norm(net.b)  # type: ignore[assignment]
        return net

    return make


def _with_locks() -> nn.Module:
    class Guarded(Net):
        def __init__(self) -> None:
            super().__init__()
            self.lock, self.event, self.local = threading.Lock(), threading.Event(), threading.local()
            self.steps, self.math = (k for k in range(3)), math

        def forward(self, x: Tensor) -> Tensor:
            with self.lock:
                return super().forward(x)

    return Guarded()


def _with_kept_tensors() -> nn.Module:
    class Keeping(Net):
        def forward(self, x: Tensor) -> Tensor:
            self.hidden = torch.relu(self.a(x))
            y: Tensor = self.c(torch.relu(self.b(self.hidden)))
            return y

    net = Keeping()
    net(_x()).sum().backward()
    net.sums = {"a": net.a.weight.sum(), "rows": [net.b.weight.norm(dim=0)]}  # type: ignore[assignment]
    return net


WRAPPED: dict[str, Callable[[], nn.Module]] = {
    "torch.compile": _compiled,
    "compiled in place": _compiled_in_place,
    "a compiled child": _compiled_child,
    "DataParallel": lambda: nn.DataParallel(Net()),
    "DataParallel of compiled": lambda: nn.DataParallel(_compiled()),
    "an average of weights": lambda: AveragedModel(nn.DataParallel(Net())),
    "freshly pruned": _pruned,
    "freshly pruned by rows": _pruned_by_rows,
    "spectral norm, old": _normed(spectral_norm),
    "locks": _with_locks,
    "kept tensors": _with_kept_tensors,
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", WRAPPED)
def test_everyday_modules_have_the_group_of_the_plain_one(name: str) -> None:
    found = _converted(WRAPPED[name]())
    assert found.verified, found.verdict
    assert found.graph.log10_order() == pytest.approx(ORDER)
    assert found.runs is not None
    assert found.runs.error is not None
    assert [check.verdict for check in found.actions] == ["confirmed", "confirmed"]


@pytest.mark.filterwarnings("ignore")
def test_keys_stay_those_of_the_wrapper() -> None:
    found = _converted(nn.DataParallel(_compiled()))
    storage = found.graph.parameters[0].storage
    assert storage is not None
    assert storage.key == "module._orig_mod.a.weight"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("norm", [weight_norm, parametrizations.weight_norm])
def test_a_weight_norm_keeps_permutations(norm: Callable[[nn.Module], nn.Module]) -> None:
    found = _converted(_normed(norm)())
    assert found.verified, found.verdict
    assert found.graph.log10_order() == pytest.approx(ORDER)


def test_parametrised_tensors_are_not_kept_between_runs() -> None:
    with parametrize.cached():
        found = _converted(_normed(parametrizations.weight_norm)())
    assert found.verified, found.verdict


class Cached(nn.Module):
    """Keeps what it made of a parameter in its first run: a scale of ones at the start, and S_7 with that scale."""

    def __init__(self, table: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b, self.s = nn.Linear(4, 7), nn.Linear(7, 2), nn.Parameter(torch.zeros(7))
        self.kept: Any = {} if table else None

    def forward(self, x: Tensor) -> Tensor:
        if isinstance(self.kept, dict):
            scale = self.kept.setdefault("s", torch.exp(self.s))
        else:
            scale = self.kept = torch.exp(self.s) if self.kept is None else self.kept
        y: Tensor = self.b(torch.relu(self.a(x)) * scale)
        return y


@pytest.mark.parametrize("table", [False, True])
def test_what_a_run_caches_is_not_a_constant_of_the_next(table: bool) -> None:
    module = Cached(table)
    found = _converted(module)
    assert found.verified, found.verdict
    assert [axis.space for axis in found.graph.parameter("s").axes] == [found.graph.parameter("a.bias").axes[0].space]
    assert found.graph.log10_order() == pytest.approx(math.log10(math.factorial(7)))
    assert module.kept == ({} if table else None)


def test_a_counter_is_seen_behind_a_class_attribute_of_its_name() -> None:
    class Counting(Net):
        calls = 0

        def forward(self, x: Tensor) -> Tensor:
            self.calls += 1
            return super().forward(x) * (2.0 if self.calls > 500 else 1.0)

    found = convert_module(Counting(), _x(), generator=_rng())
    assert not found.verified
    assert found.reason == "a run changes 'calls': the network is no function of weights and inputs"


def test_a_generator_that_a_run_uses_up_is_refused() -> None:
    class Using(Net):
        def __init__(self) -> None:
            super().__init__()
            self.steps = (k for k in range(10**6))

        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) * next(self.steps)

    module = Using()
    with pytest.raises(UsageError, match=r"^the module uses a generator that it holds, which cannot be copied$"):
        convert_module(module, _x(), generator=_rng())
    assert next(module.steps) == 0


def test_hooks_of_the_copy_write_into_containers_of_the_copy() -> None:
    module, kept = Net(), {}
    module.a.register_forward_hook(lambda _, __, y: kept.__setitem__("a", y))
    module(_x())
    held = kept["a"]
    twin = copied(module)
    twin(2 * _x())
    assert kept["a"] is held
    found = _converted(module)
    assert found.verified, found.verdict
    assert kept["a"] is held


def test_functions_in_attributes_are_bound_to_the_copy() -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.a, self.b, self.s = nn.Linear(4, 7), nn.Linear(7, 2), nn.Parameter(torch.randn(7))
            self.act = lambda x: torch.relu(self.s * x)

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.b(self.act(self.a(x)))
            return y

    found = _converted(Scaled())
    assert found.verified, found.verdict
    assert found.graph.log10_order() == pytest.approx(math.log10(math.factorial(7)))


def test_a_copy_shares_no_tensor_with_a_module_that_refuses_to_be_copied() -> None:
    class Holder:
        def __init__(self) -> None:
            self.lock, self.numbers = threading.Lock(), [torch.ones(3)]

    module = _pruned()
    holder = Holder()
    module.holder = module.b.holder = holder  # type: ignore[assignment]
    twin: Any = copied(module)
    assert twin.holder is twin.b.holder
    assert twin.holder is not holder
    assert twin.holder.numbers[0] is not holder.numbers[0]
    ours, theirs = ({x.untyped_storage().data_ptr() for x in m.state_dict().values()} for m in (module, twin))
    assert not ours & theirs
    assert torch.equal(twin(_x()), module(_x()))


class Quantised(nn.Module):
    """A layer of whole numbers; its class is said to be a package's own."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("qweight", torch.zeros(3, 4, dtype=torch.int32))


Quantised.__module__ = "gptqmodel.layers"


@pytest.mark.filterwarnings("ignore")
def test_quantised_layers_are_refused_by_name() -> None:
    net = torch.ao.quantization.quantize_dynamic(Net(), {nn.Linear})
    message = (
        r"^layer 'a' is quantised \(torch\.ao\.nn\.quantized\.dynamic\.modules\.linear\.Linear\): it holds whole "
        r"numbers and scales instead of weights; convert the network as it was before it was quantised$"
    )
    with pytest.raises(UsageError, match=message):
        convert_module(net, _x(), generator=_rng())
    with pytest.raises(UsageError, match=r"^layer '1' is quantised \(gptqmodel\.layers\.Quantised\)"):
        refuse_packed(nn.Sequential(nn.ReLU(), Quantised()))
    packed = nn.Module()
    packed.register_buffer("w", torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8))
    with pytest.raises(UsageError, match=r"^'w' is quantised \(qint8\): convert the network with plain tensors$"):
        refuse_packed(packed)
    refuse_packed(nn.ModuleList([torch.ao.nn.quantized.FloatFunctional(), nn.Linear(2, 2)]))


class Mapped(Net):
    """Row by row."""

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = torch.vmap(super().forward)(x)
        return y


class Members(nn.Module):
    """Three networks side by side, run by one vmap over their weights: S_7 ≀ S_3."""

    def __init__(self) -> None:
        super().__init__()
        self.into = nn.Parameter(torch.randn(3, 4, 7, generator=_rng(2)))
        self.out = nn.Parameter(torch.randn(3, 7, 2, generator=_rng(3)))

    def forward(self, x: Tensor) -> Tensor:
        return torch.vmap(lambda into, out: torch.relu(x @ into) @ out)(self.into, self.out).sum(0)


@pytest.mark.parametrize(("module", "order"), [
    (Mapped(), ORDER),
    (Members(), (3 * math.lgamma(8) + math.lgamma(4)) / math.log(10)),
])  # fmt: skip
def test_a_vmap_inside_is_followed(module: nn.Module, order: float) -> None:
    found = _converted(module)
    assert found.verified, found.verdict
    assert found.graph.log10_order() == pytest.approx(order)


def test_a_vmap_that_knows_its_rows_frees_them() -> None:
    class Weighted(Members):
        def forward(self, x: Tensor) -> Tensor:
            rows = torch.vmap(lambda into, out: torch.relu(x @ into) @ out)(self.into, self.out)
            return (rows * torch.arange(1.0, 4.0)[:, None, None]).sum(0)

    found = _converted(Weighted())
    assert found.verified, found.verdict
    assert found.graph.log10_order() == pytest.approx(3 * math.lgamma(8) / math.log(10))


class Tokens(nn.Module):
    """4 -> 7 -> 2 with tokens in front that are none."""

    def __init__(self, *shape: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.t, self.a, self.b = nn.Parameter(torch.zeros(shape)), nn.Linear(4, 7), nn.Linear(7, 2)
        self.register_buffer("e", torch.zeros(0, 3))

    def forward(self, x: Tensor) -> Tensor:
        h = torch.tanh(self.a(x))
        if self.t.ndim > 1:
            h = torch.cat([self.t.reshape(0, 7), h])
        y: Tensor = self.b(h) + self.t.sum()
        return y


@pytest.mark.parametrize("shape", [(0, 7), (1, 0, 7), (0, 1, 7), (0,)])
def test_tensors_without_elements_move_with_no_space(shape: tuple[int, ...]) -> None:
    found = _converted(Tokens(*shape))
    assert found.verified, found.verdict
    assert found.runs is not None
    assert found.runs.error is not None, found.runs
    assert found.graph.log10_order() == pytest.approx(math.log10(math.factorial(7)))
    assert not found.graph.set_axes("t")
    assert found.graph.shape("e") == (0, 3)


def test_single_elements_put_together_are_stored_as_free() -> None:
    parameter = Abstract((Leg(total([product([Dim(3), total([Dim(1), Dim(1)])]), Dim(2)])),))
    settle([[parameter]])
    first, second = blocks(parameter)
    assert [(atom.size, atom.free) for atom, _ in first.atoms[0]] == [(3, False), (2, True)]
    assert second.bounds == ((6, 8),)


def test_second_tests_that_fail_discard_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object, **__: object) -> None:
        raise ValueError("no such thing\nand more")

    for place in ("computation.self_run", "computation.measure_labels"):
        monkeypatch.setattr(f"graphws_converters.assembly.{place}", fails)
    monkeypatch.setattr("graphws_converters.gate.crosscheck.assemble", fails)
    monkeypatch.setattr("graphws_converters.gate.confirmation.measure_actions", fails)
    found = convert_module(Cached(table=False), _x(), generator=_rng())
    assert found.verified, found.verdict
    assert str(found.runs) == "runs: no (it could not be tried: no such thing)"
    assert [check.reason for check in found.actions] == ["gradients cannot be taken: no such thing"]
    assert "not cross-checked: the recorder's program cannot be read (no such thing)" in found.notes
    monkeypatch.setattr("graphws_converters.assembly.computation.written", fails)
    found = convert_module(Cached(table=False), _x(), generator=_rng())
    assert found.verified, found.verdict
    assert str(found.runs) == "runs: no (its computation cannot be written down: no such thing)"


def test_lengths_drawn_at_random_are_refused_in_words() -> None:
    class Lengths(Net):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x).repeat(int(torch.randint(1, 50, ())), 1)

    message = "^two runs on the same weights and inputs give outputs of other shapes: the network is not a function"
    with pytest.raises(VerificationError, match=message):
        convert_module(Lengths(), _x(), generator=_rng(), front="recorder")


def test_a_single_number_stretched_over_rows_is_followed() -> None:
    """What has no axis begins with none; it is looked where the axes of what is stretched are taken apart."""

    class Stretched(Net):
        def __init__(self) -> None:
            super().__init__()
            self.last = nn.Parameter(torch.tensor(0.3))

        def forward(self, x: Tensor) -> Tensor:
            return torch.cat([super().forward(x), self.last.expand(len(x), 1)], -1)

    found = _converted(Stretched())
    assert found.verified, found.verdict
    assert math.isclose(found.graph.log10_order(), ORDER)
