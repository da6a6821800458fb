"""A batch of networks is run as a loop over networks would run them, and as their own modules do."""

from __future__ import annotations

import re
import warnings
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from graphws.errors import GraphError
from graphws.graph import NetworkGraph, Operation, Parameter, Space, Value, Weights
from graphws.operations import continue_from, forward, mlp_graph, outputs_of, run_values, runner
from tests.graph import samples
from tests.operations.runner_networks import NAMES, SHAPES, Source, source

each_network = pytest.mark.parametrize("name", NAMES)
each_module = pytest.mark.parametrize("name", SHAPES)


def close(found: Tensor, expected: Tensor, tolerance: float = 1e-12) -> None:
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)


def several(found: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return (found,) if isinstance(found, Tensor) else found


def single(network: Source, k: int) -> Weights:
    return network.weights.select([k])


@each_network
def test_a_batch_is_a_loop_over_networks(name: str) -> None:
    network = source(name)
    batch = several(forward(network.graph, network.weights, network.inputs))
    for k in range(3):
        for found, alone in zip(
            batch, several(forward(network.graph, single(network, k), network.inputs)), strict=True
        ):
            close(found[k], alone[0])


@each_module
def test_networks_compute_what_their_modules_compute(name: str) -> None:
    network = source(name)
    longer = tuple(torch.cat([x, 2 * x[:1]]) for x in network.inputs)
    for inputs in (network.inputs, longer):
        batch = several(forward(network.graph, network.weights, inputs))
        for k, module in enumerate(network.modules):
            for found, expected in zip(batch, several(module(*inputs)), strict=True):
                close(found[k], expected)


@each_network
def test_inputs_may_be_each_networks_own(name: str) -> None:
    network = source(name)
    own = tuple(torch.stack([x, x.flip(0), -x]) for x in network.inputs)
    batch = several(forward(network.graph, network.weights, own))
    mixed = several(forward(network.graph, network.weights, (own[0], *network.inputs[1:])))
    for k in range(3):
        mine = tuple(x[k] for x in own)
        for found, alone in zip(batch, several(forward(network.graph, single(network, k), mine)), strict=True):
            close(found[k], alone[0])
        partly = several(forward(network.graph, single(network, k), (mine[0], *network.inputs[1:])))
        for found, alone in zip(mixed, partly, strict=True):
            close(found[k], alone[0])


@each_network
def test_portions_change_nothing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    network = source(name)
    seven = network.weights.select([0, 1, 2, 2, 1, 0, 1])
    whole = run_values(network.graph, seven, network.inputs)
    monkeypatch.setattr(runner, "MEMORY", 1)
    portions = run_values(network.graph, seven, network.inputs)
    assert list(whole) == list(portions)
    for value, expected in zip(portions.values(), whole.values(), strict=True):
        close(value, expected)


def test_portions_are_of_about_equal_size(monkeypatch: pytest.MonkeyPatch) -> None:
    network = source("mlp")
    seven = network.weights.select([0, 1, 2, 2, 1, 0, 1])
    sizes: list[int] = []
    real = runner.execute_batch

    def seen(graph: NetworkGraph, own: dict[str, Tensor], *rest: object) -> dict[str, Tensor]:
        sizes.append(len(own["W1"]))
        return real(graph, own, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(runner, "execute_batch", seen)
    one = 4 * (6 + 6 + 5 + 5 + 2) * 8  # bytes of the values of one network on four points
    monkeypatch.setattr(runner, "MEMORY", 6 * one)
    forward(network.graph, seven, network.inputs)
    assert sizes == [4, 3]


@each_network
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.bfloat16, 0.3)])
def test_other_types_run(name: str, dtype: torch.dtype, tolerance: float) -> None:
    network = source(name)
    coarse = several(forward(network.graph, network.weights.to(dtype=dtype), [x.to(dtype) for x in network.inputs]))
    for found, expected in zip(coarse, several(forward(network.graph, network.weights, network.inputs)), strict=True):
        assert found.dtype == dtype
        assert (found.double() - expected).norm() < tolerance * expected.norm()


@each_network
def test_gradients_are_those_of_single_networks(name: str) -> None:
    network = source(name)
    inputs = [x.clone().requires_grad_() for x in network.inputs]
    floating = {name: x.clone().requires_grad_() for name, x in network.weights.items() if x.is_floating_point()}
    weights = Weights(network.graph, {**network.weights.tensors, **floating})
    batch = outputs_of(network.graph, weights, inputs).square().sum()
    alone = torch.stack([outputs_of(network.graph, weights.select([k]), inputs).square().sum() for k in range(3)]).sum()
    tensors = [*floating.values(), *inputs]
    for found, expected in zip(
        *(torch.autograd.grad(y, tensors, allow_unused=True) for y in (batch, alone)), strict=True
    ):
        assert (found is None) == (expected is None)
        if found is not None:
            close(found, expected, 1e-9)


@each_module
def test_gradients_are_those_of_the_module(name: str) -> None:
    network = source(name)
    flat = {n: x.clone().requires_grad_() for n, x in network.weights.items() if x.is_floating_point()}
    weights = Weights(network.graph, {**network.weights.tensors, **flat})
    loss = sum(x.square().sum() for x in several(forward(network.graph, weights, network.inputs)))
    slopes = dict(zip(flat, torch.autograd.grad(loss, list(flat.values()), allow_unused=True), strict=True))  # type: ignore[arg-type]
    whole = Weights(network.graph, {n: x if slopes.get(n) is None else slopes[n] for n, x in weights.items()})
    for k, module in enumerate(network.modules):
        module.zero_grad()
        sum(x.square().sum() for x in several(module(*network.inputs))).backward()  # type: ignore[union-attr]
        state = whole.to_state_dict(k)
        for key, parameter in module.named_parameters():
            assert parameter.grad is not None
            close(state[key], parameter.grad, 1e-9)
        module.zero_grad()


@pytest.mark.parametrize("name", ["mlp", "two by two", "masked"])
def test_gradients_are_right(name: str) -> None:
    network = source(name)
    two = network.weights.select([0, 1])
    inputs = [x[:2].clone().requires_grad_() for x in network.inputs]

    def run(flat: Tensor, *points: Tensor) -> Tensor:
        return outputs_of(network.graph, Weights.unflatten(network.graph, flat), points)

    assert torch.autograd.gradcheck(run, (two.flatten().requires_grad_(), *inputs))


@each_network
def test_hidden_values_go_on_to_the_outputs(name: str) -> None:
    network = source(name)
    values = run_values(network.graph, network.weights, network.inputs)
    written = [name for operation in network.graph.operations for name in operation.outputs]
    assert set(values) == {*network.graph.inputs, *written}
    outputs = network.graph.outputs
    expected = run_values(network.graph, network.weights, network.inputs, outputs)
    half = [x for x in written if network.graph.readers(x)][len(written) // 2 :]
    for hidden in half[:3]:
        given = {**{name: values[name] for name in network.graph.inputs}, hidden: values[hidden]}
        found = continue_from(network.graph, network.weights, given, outputs, n=4)
        for output in outputs:
            close(found[output], expected[output])
        moved = continue_from(
            network.graph,
            network.weights,
            {**given, hidden: values[hidden] + samples_of(*values[hidden].shape)},
            outputs,
            n=4,
        )
        assert any((moved[output] - expected[output]).abs().max() > 1e-9 for output in outputs)


def test_what_follows_needs_what_it_reads() -> None:
    network = source("mlp")
    values = run_values(network.graph, network.weights, network.inputs, ["x1"])
    close(continue_from(network.graph, network.weights, values, ["z3"])["z3"],
          forward(network.graph, network.weights, network.inputs))  # type: ignore[arg-type]  # fmt: skip
    with pytest.raises(GraphError, match=r"^no operation writes 'x0', and it is not given$"):
        continue_from(network.graph, network.weights, {"x2": values["x1"]}, ["z1"])


def test_values_that_no_weight_touches_come_for_every_network() -> None:
    network = source("masked")
    values = run_values(network.graph, network.weights, network.inputs)
    assert {len(value) for value in values.values()} == {3}


def test_inputs_go_by_position_and_by_name() -> None:
    network = source("two by two")
    a, b = network.graph.inputs
    expected = several(forward(network.graph, network.weights, network.inputs))
    named = dict(zip((a, b), network.inputs, strict=True))
    for inputs in (list(network.inputs), named, {b: named[b], a: named[a]}):
        for found, wanted in zip(several(forward(network.graph, network.weights, inputs)), expected, strict=True):
            assert torch.equal(found, wanted)
    both = outputs_of(network.graph, network.weights, network.inputs)
    assert torch.equal(both, torch.cat([x.flatten(1) for x in expected], 1))


def message(call: object) -> str:
    with pytest.raises(GraphError) as error:
        call()  # type: ignore[operator]
    return str(error.value)


def test_wrong_inputs_are_refused() -> None:
    graph, weights, inputs = source("two by two").graph, source("two by two").weights, source("two by two").inputs
    a, b = graph.inputs
    cases = {
        f"got 1 inputs, this graph reads 2: {a}, {b}": inputs[0],
        f"got 3 inputs, this graph reads 2: {a}, {b}": (*inputs, inputs[0]),
        f"input {b!r} is missing": {a: inputs[0]},
        f"no input {a + 'x'!r} in this graph; did you mean {a!r}?": {a + "x": inputs[0], b: inputs[1]},
        "inputs of shape (3,): this graph reads (points, 3) or (batch, points, 3)": (inputs[0][0], inputs[1]),
        "inputs for 2 networks, got weights of 3": (torch.stack([inputs[0]] * 2), inputs[1]),
    }
    for text, given in cases.items():
        assert message(lambda given=given: forward(graph, weights, given)) == text
    text = message(lambda: run_values(graph, weights, inputs, ["nothing"]))
    assert text.startswith("no value 'nothing' in this graph")


def test_no_networks_are_refused() -> None:
    network = source("mlp")
    empty = network.weights.select([])
    assert message(lambda: forward(network.graph, empty, network.inputs)) == "no networks to run: the weights hold none"


def opaque() -> NetworkGraph:
    base = mlp_graph([2, 2], bias=False)
    strange = Operation("opaque", ("z1",), ("y",), {"name": "fft of a roll", "why": "it draws random numbers"})
    return NetworkGraph(base.spaces, base.parameters, (*base.operations, strange), ("x0",), ("y",), values=base.values)


def test_a_step_that_the_table_does_not_know_is_refused_with_its_reason() -> None:
    graph = opaque()
    weights, x = samples.random_weights(graph, 2), torch.zeros(3, 2).double()
    reason = "fft of a roll cannot be run from the graph: it draws random numbers"
    assert message(lambda: forward(graph, weights, x)) == f"this graph cannot be run by itself: {reason}"
    assert message(lambda: continue_from(graph, weights, {"x0": x.expand(2, -1, -1)}, ["y"])) == reason
    assert continue_from(graph, weights, {"x0": x.expand(2, -1, -1)}, ["z1"])["z1"].shape == (2, 3, 2)


def samples_of(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def chain(*operations: Operation, shape: tuple[int | str, ...] = ("n", 3)) -> NetworkGraph:
    """Steps that read x and a weight w (4, 3), and write y."""
    spaces = (Space("in", 3, "free"), Space("out", 4, "free"))
    parameters = (Parameter("w", "out in*"),)  # type: ignore[arg-type]
    return NetworkGraph(spaces, parameters, operations, ("x",), ("y",), values=(Value("x", shape),))


LOOPED = {
    "unique values": Operation("unique_consecutive", ("z",), ("y",)),
    "nonzero": Operation("nonzero", ("z",), ("y",)),
    "masked": Operation("masked_select", ("z", "m"), ("y",)),
}


@pytest.mark.parametrize("name", LOOPED)
def test_what_vmap_cannot_batch_is_looped_over(name: str, recwarn: pytest.WarningsRecorder, capfd: object) -> None:
    steps = [Operation("linear", ("x", "w"), ("z",))]
    if name == "masked":
        steps.append(Operation("gt", ("x4",), ("m",), {"other": 0}))
        steps.insert(0, Operation("pad", ("x",), ("x4",), {"pad": (0, 1)}))
    graph = chain(*steps, LOOPED[name])
    weights, x = (
        samples.random_weights(graph, 3),
        torch.randn(5, 3, generator=torch.Generator().manual_seed(0)).double(),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = forward(graph, weights, x)
    for k in range(3):
        alone = forward(graph, weights.select([k]), x)[0]  # type: ignore[index]
        torch.testing.assert_close(found[k], alone, rtol=1e-12, atol=1e-13)  # one product or three: rounding differs
    assert not recwarn.list
    assert capfd.readouterr().err == ""  # type: ignore[attr-defined]


def test_attention_with_a_mask_of_each_network_warns_nobody(capfd: object) -> None:
    heads = Operation("scaled_dot_product_attention", ("z3", "z3", "z3", "m"), ("y",))
    linear = Operation("linear", ("x", "w"), ("z",))
    graph = chain(
        linear, Operation("unsqueeze", ("z",), ("z3",), {"dim": 0}), Operation("t", ("z",), ("zt",)),
        Operation("mm", ("z", "zt"), ("m",)), heads,
    )  # fmt: skip
    weights, x = (
        samples.random_weights(graph, 3),
        torch.randn(5, 3, generator=torch.Generator().manual_seed(0)).double(),
    )
    found = forward(graph, weights, x)
    for k in range(3):
        close(found[k], forward(graph, weights.select([k]), x)[0])  # type: ignore[index]
    assert capfd.readouterr().err == ""  # type: ignore[attr-defined]


def test_results_of_other_shapes_for_other_networks_are_refused() -> None:
    graph = chain(Operation("gt", ("w",), ("m",), {"other": 0}), Operation("masked_select", ("w", "m"), ("y",)))
    weights = Weights(graph, {"w": torch.stack([torch.ones(4, 3), -torch.ones(4, 3)])})
    assert message(lambda: forward(graph, weights, torch.zeros(2, 3))) == (
        "operation y = masked_select(w, m) gives tensors of other shapes for other networks: (12,), (0,); "
        "run the networks one by one"
    )


@pytest.mark.parametrize("batch", [1, 3])
def test_an_error_of_the_user_names_its_operation_once(batch: int) -> None:
    graph = mlp_graph([3, 4, 2], "tanh")
    weights = samples.random_weights(graph, batch)
    with pytest.raises(GraphError) as error:
        forward(graph, weights, torch.zeros(5, 7).double())
    text = str(error.value)
    assert re.match(r"^operation z1 = linear\(x0, W1, b1\) on shapes \(5, 7\), \(4, 3\), \(4,\): ", text)
    assert text.count("operation") == 1
    assert isinstance(error.value.__cause__, RuntimeError)
    assert error.value.__context__ is error.value.__cause__


def test_no_memory_is_not_taken_for_a_step_that_cannot_be_batched(monkeypatch: pytest.MonkeyPatch) -> None:
    network = source("mlp")
    calls: list[int] = []

    def full(*_: object, **__: object) -> Tensor:
        calls.append(1)
        raise torch.OutOfMemoryError("no memory")

    steps = runner.steps_to(network.graph, frozenset(network.graph.outputs), frozenset(network.graph.inputs))
    monkeypatch.setattr("graphws.operations.batch.steps_to", lambda *_: (
        replace(steps[0], row=replace(steps[0].row, batched=full)), *steps[1:]
    ))  # fmt: skip
    with pytest.raises(torch.OutOfMemoryError):
        forward(network.graph, network.weights, network.inputs)
    assert calls == [1]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@each_network
def test_on_a_gpu(name: str) -> None:
    network = source(name)
    found = several(forward(network.graph, network.weights.to("cuda"), [x.cuda() for x in network.inputs]))
    for value, expected in zip(found, several(forward(network.graph, network.weights, network.inputs)), strict=True):
        assert value.is_cuda
        close(value.cpu(), expected, 1e-9)


def test_modules_stay_as_they_are() -> None:
    for name in SHAPES:
        assert not any(isinstance(m, nn.Module) and m.training for m in source(name).modules)
