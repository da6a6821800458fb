from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from graphws.checkpoints.conversion import Hints
from graphws.converting import convert
from graphws.errors import GraphError, UsageError, VerificationError
from graphws.graph import Weights
from graphws.operations import forward, mlp_graph
from graphws_converters.chains.mlp_form import mlp_form
from tests.converters.networks import Broken, Functional, Siren, seeded
from tests.graph import samples


def _activations(module: nn.Module, **hints: Any) -> list[str]:
    result = convert(module, **hints)
    assert result.verified, result.verdict
    operations = [o for o in result.graph.operations if o.kind != "linear"]
    return [o.kind + "".join(f" {name}={_shown(value)}" for name, value in o.attributes) for o in operations]


def _shown(value: object) -> str:
    return f"{value:.10g}" if isinstance(value, float) else str(value)


MODULES: list[tuple[nn.Module, str]] = [
    (nn.ReLU(), "relu"),
    (nn.ReLU(inplace=True), "relu"),
    (nn.LeakyReLU(0.2), "leaky_relu negative_slope=0.2"),
    (nn.Tanh(), "tanh"),
    (nn.Hardtanh(), "hardtanh"),
    (nn.Hardtanh(-2.0, 2.0), "hardtanh max_val=2 min_val=-2"),
    (nn.Softsign(), "softsign"),
    (nn.Tanhshrink(), "tanhshrink"),
    (nn.Sigmoid(), "sigmoid"),
    (nn.GELU(), "gelu"),
    (nn.GELU(approximate="tanh"), "gelu approximate=tanh"),
    (nn.SiLU(), "silu"),
    (nn.ELU(), "elu"),
    (nn.ELU(0.5), "elu alpha=0.5"),
    (nn.CELU(2.0), "celu alpha=2"),
    (nn.SELU(), "selu"),
    (nn.Softplus(), "softplus"),
    (nn.Softplus(2.0), "softplus beta=2"),
    (nn.Mish(), "mish"),
    (nn.Hardswish(), "hardswish"),
    (nn.ReLU6(), "relu6"),
    (nn.Identity(), "identity"),
]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("activation", "expected"), MODULES)
def test_sequential_mlps_of_every_activation(activation: nn.Module, expected: str, bias: bool) -> None:
    module = seeded(lambda: nn.Sequential(nn.Linear(3, 8, bias), activation, nn.Linear(8, 2, bias)))
    assert _activations(module) == [expected]


def test_a_plain_mlp_has_the_graph_of_mlp_graph() -> None:
    layers = [nn.Linear(2, 5), nn.Tanh(), nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 1)]
    module = seeded(lambda: nn.Sequential(*layers))
    result = convert(module)
    assert result.graph == mlp_graph([2, 5, 4, 1], "tanh")
    assert result.weights is not None
    state = result.weights.to_state_dict()
    assert all(samples.bits(state[key], value) for key, value in module.state_dict().items())
    assert str(result).startswith("VERIFIED (error ")
    assert result.verification is not None
    assert result.verification.actions == "rich"


@pytest.mark.parametrize(("first", "hidden"), [(30.0, 30.0), (1.0, 30.0), (2.5 * math.pi, 1.7), (120.0, 0.3)])
def test_the_frequencies_of_a_siren_are_read_off_its_numbers(first: float, hidden: float) -> None:
    result = convert(seeded(lambda: Siren(first, hidden)))
    assert result.verified
    omegas = [o.attribute("omega", 0.0) for o in result.graph.operations if o.kind == "sine"]
    assert omegas == pytest.approx([first, hidden], rel=1e-12)
    assert [s.action.value for s in result.graph.spaces] == ["permutation", "signed", "signed", "permutation"]
    assert result.graph.parameter("W1").storage is not None


def test_hints_are_put_to_the_test() -> None:
    siren = seeded(Siren)
    assert _activations(siren, activation="sine", omega=30) == ["sine omega=30"] * 2
    assert _activations(siren, activation=["sine", "sine"], omega=[30.0, 30.0]) == ["sine omega=30"] * 2
    place = r"^between 'net\.0\.linear' and 'net\.1\.linear' the module does not compute "
    with pytest.raises(VerificationError, match=place + r"sine\(omega=29\.0\), as activation= says$"):
        convert(siren, activation="sine", omega=29.0)
    with pytest.raises(VerificationError, match=place + r"tanh, as activation= says$"):
        convert(siren, activation="tanh")
    with pytest.raises(UsageError, match=r"^2 hidden layers need one activation or 2, got 1$"):
        convert(siren, activation=["sine"])
    with pytest.raises(UsageError, match=r"^unknown activation 'sin'; did you mean 'sine'\?$"):
        convert(siren, activation="sin")
    with pytest.raises(UsageError, match=r"^omega belongs to sine activations, activation= says tanh, tanh$"):
        convert(siren, activation="tanh", omega=30)


FUNCTIONS: list[tuple[Callable[[Tensor], Tensor], str]] = [
    (torch.relu, "relu"),
    (torch.tanh, "tanh"),
    (lambda x: functional.leaky_relu(x, 0.3), "leaky_relu negative_slope=0.3"),
    (functional.gelu, "gelu"),
    (lambda x: x**3, "power exponent=3"),
    (lambda x: x * x, "power exponent=2"),
    (torch.sin, "sine omega=1"),
    (lambda x: x, "identity"),
    (functional.softplus, "softplus"),
]


@pytest.mark.parametrize(("function", "expected"), FUNCTIONS)
def test_functions_in_the_modules_own_code(function: Callable[[Tensor], Tensor], expected: str) -> None:
    module = seeded(lambda: Functional(function))
    assert _activations(module) == [expected] * 2
    result = convert(module)
    keys = [p.storage.key for p in result.graph.parameters if p.storage]
    assert keys == ["first.weight", "first.bias", "second.weight", "last.weight", "last.bias"]
    assert result.weights is not None
    x = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(forward(result.graph, result.weights, x)[0], module(x))


def test_samples_that_fit_several_activations_need_a_name() -> None:
    class Bounded(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c = nn.Linear(2, 4), nn.Linear(4, 4), nn.Linear(4, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.c(functional.hardtanh(self.b(torch.tanh(self.a(x))) / 1.0))

    module = seeded(Bounded)
    with torch.no_grad():
        module.b.weight.mul_(0.1)
    message = (
        r"^between 'b' and 'c' the samples fit several activations \(hardtanh, identity\): name it with activation=$"
    )
    with pytest.raises(GraphError, match=message):
        mlp_form(copy.deepcopy(module).double(), (32, 2), torch.Generator().manual_seed(0), Hints())
    general = convert(module)
    assert general.verified, "the trace knows the activation by its code"
    assert [s.action.value for s in general.graph.spaces if s.moves] == ["signed", "signed"]
    assert _activations(module, activation=["tanh", "hardtanh"]) == ["tanh", "hardtanh"]


def test_dropout_flatten_identity_and_an_activation_at_the_end() -> None:
    module = seeded(
        lambda: nn.Sequential(
            nn.Flatten(), nn.Linear(16, 8), nn.Dropout(0.5), nn.Identity(), nn.ReLU(), nn.Linear(8, 3), nn.Sigmoid()
        )
    ).train()
    assert _activations(module, example_inputs=torch.zeros(5, 1, 4, 4)) == ["relu", "sigmoid"]
    assert module.training, "the module was not touched"


def test_one_linear_layer_and_single_neurons_have_nothing_to_verify() -> None:
    for module in (nn.Linear(3, 4), nn.Sequential(nn.Linear(3, 1), nn.Sigmoid(), nn.Linear(1, 2))):
        result = convert(module)
        assert not result.verified
        assert result.verdict == "UNVERIFIED (no space has two neurons to exchange)"
    assert [p.storage.key for p in convert(nn.Linear(3, 4)).graph.parameters if p.storage] == ["weight", "bias"]


def test_a_network_that_ignores_its_neurons_is_judged_by_networks_nearby() -> None:
    module = seeded(lambda: nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 1)))
    with torch.no_grad():
        module[2].weight.zero_()  # type: ignore[union-attr,operator]
    result = convert(module)
    assert result.verification is not None
    assert result.verification.control > 1e-3


RUNS = r"is no pointwise activation that graphws knows$"


@pytest.mark.parametrize(
    ("how", "message", "moving"),
    [
        ("scaled input", r"^the module changes its input before its first linear layer 'a'$", 2),
        ("residual", r"^what runs between 'b' and 'c' \(code of the module's own\) " + RUNS, 1),
        ("skip", r"^what runs after 'c' \(code of the module's own\) " + RUNS, 2),
        ("twice", r"^linear layer 'b' runs 2 times: its weights are shared in depth$", 1),
        ("unused", r"^linear layer 'c' does not run: only chains that use every layer are converted$", 1),
        ("data", r"^the module runs other layers for other inputs: only a fixed chain is converted$", None),
        ("cosine", r"^what runs between 'b' and 'c' \(code of the module's own\) " + RUNS, 2),
        ("roll", r"^what runs between 'b' and 'c' \(code of the module's own\) " + RUNS, 2),
        ("pair", r"^the module returns a tuple; a chain of layers returns one tensor$", 1),
    ],
)
def test_what_is_no_chain_gets_a_graph_of_another_form(how: str, message: str, moving: int | None) -> None:
    module = seeded(lambda: Broken(how))
    with pytest.raises(GraphError, match=message):
        mlp_form(copy.deepcopy(module).double(), (32, 4), torch.Generator().manual_seed(0), Hints())
    result = convert(module)
    assert result.verified == (how != "data"), result.verdict
    if moving is not None:
        assert sum(space.moves for space in result.graph.spaces) == moving


def test_the_unbroken_one_is_converted() -> None:
    assert _activations(seeded(lambda: Broken("not at all"))) == ["relu", "relu"]


def _sequential(*between: nn.Module) -> nn.Module:
    return seeded(lambda: nn.Sequential(nn.Linear(3, 4), *between, nn.Linear(4, 2)))


@pytest.mark.parametrize("between", [nn.LayerNorm(4), nn.BatchNorm1d(4), nn.Softshrink(0.3), nn.Softmax(-1)])
def test_layers_that_are_no_activations_are_no_mlp_but_verified(between: nn.Module) -> None:
    result = convert(_sequential(between))
    assert result.verified, result.verdict
    assert result.graph != mlp_graph([3, 4, 2])
    assert [space.size for space in result.graph.spaces if space.moves] == [4]
    with pytest.raises(GraphError, match=r"^what runs between '0' and '2' .*" + RUNS):
        mlp_form(_sequential(between).double().eval(), (32, 3), torch.Generator().manual_seed(0), Hints())


def test_tensors_that_are_no_layers_are_kept() -> None:
    module = _sequential(nn.ReLU())
    module.register_buffer("mean", torch.zeros(3))
    result = convert(module)
    assert result.verified
    assert result.graph.parameter("mean").kind == "buffer"
    assert "'mean' is not used" in result.notes


def test_modules_that_cannot_be_run_are_refused() -> None:
    flat = seeded(lambda: nn.Sequential(nn.Flatten(2), nn.Linear(16, 2)))
    message = r"^the module cannot be run on inputs of shape \(32, 16\): .*; give example_inputs$"
    with pytest.raises(UsageError, match=message):
        convert(flat)
    convert(flat, example_inputs=torch.zeros(2, 3, 4, 4))
    with pytest.raises(UsageError, match=r"^parameter 'weight' has no numbers yet: run the module once"):
        convert(nn.LazyLinear(3))
    with torch.device("meta"):
        empty = nn.Linear(2, 3)
    message = r"^on the meta device nothing shows the shape of the module's inputs: give example_inputs$"
    with pytest.raises(UsageError, match=message):
        convert(empty)
    nothing = convert(empty, example_inputs=torch.empty(4, 2, device="meta"))
    assert nothing.verdict == "UNVERIFIED (the weights are on the meta device: there are no numbers)"
    assert nothing.weights is None


def test_the_module_stays_as_it_is() -> None:
    module = seeded(Siren)
    before = copy.deepcopy(module.state_dict())
    convert(module)
    assert all(samples.bits(module.state_dict()[key], value) for key, value in before.items())
    assert all(not m._forward_hooks for m in module.modules())


def test_the_same_generator_gives_the_same_figures() -> None:
    module = seeded(Siren)
    figures = [convert(module, generator=torch.Generator().manual_seed(7)).verdict for _ in range(2)]
    assert figures[0] == figures[1]


def test_permute_then_convert_is_convert_then_permute() -> None:
    module = seeded(Siren)
    result = convert(module)
    assert result.weights is not None
    element = result.graph.group().random(torch.Generator().manual_seed(1), actions="rich")
    after = element.act(result.weights)
    permuted = copy.deepcopy(module)
    permuted.load_state_dict(after.to_state_dict())
    again = convert(permuted)
    assert again.graph == result.graph
    assert again.weights is not None
    assert samples.same_bits(again.weights, after)
    x = torch.randn(50, 2, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(permuted(x), module(x), rtol=1e-3, atol=1e-4)


def test_weights_keep_the_modules_type() -> None:
    module = seeded(lambda: nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 1))).to(torch.bfloat16)
    result = convert(module)
    assert result.verified
    assert isinstance(result.weights, Weights)
    assert result.weights.dtype == torch.bfloat16
