"""Fitting thousands of small networks at once, one network a sample.

`fit_group` trains a group of networks together with the hand-written passes of `graphws.zoo.batched_mlp` and `Adam`.
The loss of a network is the mean over points and channels of the squared error, so its gradient never meets another
network's.  Every `check_every` steps the peak signal-to-noise ratio 10·log10(peak² / error) is looked at: a network
that has reached `psnr` is frozen as it stands and leaves the group, which then computes without it.

The recorded error and PSNR are those of the stored weights, not of the step before.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
import torch
from torch import Tensor

from graphws.errors import ZooError, nearest
from graphws.graph import Weights
from graphws.shown import Shown
from graphws.zoo.adam import Adam, Schedule, rate
from graphws.zoo.architecture import Architecture, initial
from graphws.zoo.batched_mlp import BatchedMLP, FlatParameters
from graphws.zoo.fitting import Interrupted


@dataclass(frozen=True, repr=False)
class FitOptions(Shown):
    """How networks are fitted.

    Args:
        steps: Updates at most.
        lr: Adam's learning rate.
        schedule: ``none`` (constant) or ``cosine`` (down to 0 over `steps`): with a large rate, cosine reaches a good
            fit in a tenth of the steps.
        views: Networks a sample, each from a start of its own.
        psnr: Decibels at which a network stops early; None for never.
        weight_decay: Added to the gradient times the weights and biases (L2, as PyTorch's Adam has it; not AdamW).
        check_every: Steps between looks at the PSNR.
        seed: Decides every start.
        group: Networks that are computed together; None for what fits the processor's cache.  Results do not depend
            on it.

    Raises:
        ZooError: On a value that makes no sense.
    """

    steps: int = 1000
    lr: float = 5e-4
    schedule: Schedule = "none"
    views: int = 1
    psnr: float | None = 40.0
    check_every: int = 25
    seed: int = 0
    group: int | None = None
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        for name in ("steps", "views", "check_every", "group"):
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
                raise ZooError(f"fit: {name} must be a whole number of at least 1, got {value!r}")
        if not (math.isfinite(self.lr) and self.lr > 0):
            raise ZooError(f"fit: lr must be a positive number, got {self.lr!r}")
        if not (math.isfinite(self.weight_decay) and self.weight_decay >= 0):
            raise ZooError(f"fit: weight_decay must be a number of at least 0, got {self.weight_decay!r}")
        if self.schedule not in get_args(Schedule):
            raise ZooError(
                f"fit: schedule must be none or cosine, got {self.schedule!r}"
                + nearest(str(self.schedule), get_args(Schedule))
            )
        if self.psnr is not None and not math.isfinite(self.psnr):
            raise ZooError(f"fit: psnr must be a number of decibels or null, got {self.psnr!r}")

    def settings(self) -> dict[str, Any]:
        """What the result depends on, for provenance: everything but `group`; a decay only where there is one."""
        names = ["steps", "lr", "schedule", "views", "psnr", "check_every", "seed"]
        names += ["weight_decay"] if self.weight_decay else []
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True, eq=False, repr=False)
class Fitted(Shown):
    """The networks of a group after their fit.

    Args:
        weights: On the CPU, in the graph's layout.
        loss: Mean squared error of each, (networks,) float64.
        psnr: Decibels, (networks,) float64.
        steps: Updates that each got, (networks,) int64.
    """

    weights: Weights
    loss: np.ndarray
    psnr: np.ndarray
    steps: np.ndarray

    @staticmethod
    def cat(parts: list[Fitted]) -> Fitted:
        """Groups one after another."""
        return Fitted(
            Weights.cat([part.weights for part in parts]),
            np.concatenate([part.loss for part in parts]),
            np.concatenate([part.psnr for part in parts]),
            np.concatenate([part.steps for part in parts]),
        )


def cached_group(architecture: Architecture, points: int, cuda: bool = False) -> int:
    """How many networks to compute together: about 8 MB of activations on a CPU, between 8 and 64 networks."""
    if cuda:
        return 1024
    bytes_each = 12 * points * sum(architecture.widths[1:])
    return max(8, min(64, 1 << max(0, round(math.log2(8e6 / bytes_each)))))


def fit_group(
    architecture: Architecture,
    coordinates: Tensor,
    targets: Tensor,
    samples: np.ndarray,
    views: np.ndarray,
    options: FitOptions,
    *,
    peak: float = 1.0,
    stop: Callable[[], bool] = lambda: False,
) -> Fitted:
    """Fits one group of networks together.

    Args:
        architecture: Widths and activation.
        coordinates: (points, d_0); its type and device are those of the computation.
        targets: What the outputs should be, (networks, points, d_M), same type and device.
        samples: Sample number of each network, (networks,); with `views` it decides the start.
        views: View number of each network, (networks,).
        options: Steps, rate and when to stop.
        peak: Range of the targets, for the PSNR.
        stop: Asked before every step.

    Returns:
        Fitted: In the order given.

    Raises:
        ZooError: Where targets do not fit the architecture, or a network's error is no longer a number.
        Interrupted: Where `stop` said so.
    """
    points, (d_in, d_out) = coordinates.shape[0], (architecture.widths[0], architecture.widths[-1])
    if coordinates.shape[1] != d_in or targets.shape != (len(samples), points, d_out):
        raise ZooError(
            f"networks with {d_in} inputs and {d_out} outputs cannot be fitted to values {tuple(targets.shape)} "
            f"at coordinates {tuple(coordinates.shape)}"
        )
    # a network alone is computed twice over: a batch of one matrix takes another route, with other rounding
    active = torch.arange(len(samples), device=coordinates.device)
    active = _at_least_two(active)
    mlps = BatchedMLP(architecture, coordinates, len(active))
    parameters = FlatParameters(mlps.shapes, len(active), coordinates)
    starts = initial(architecture, options.seed, samples, views)
    for layer, start, scale in zip(parameters.layers, starts, mlps.scales, strict=True):
        layer.copy_(start * scale)
    optimiser = Adam(parameters, mlps.scales, weight_decay=options.weight_decay)
    wanted = targets.transpose(1, 2)[active].contiguous() - architecture.offset
    final = [layer.new_empty(len(samples), *layer.shape[1:]) for layer in parameters.layers]
    loss = torch.zeros(len(samples), dtype=torch.float64, device=coordinates.device)
    steps = np.zeros(len(samples), dtype=np.int64)
    enough = -math.inf if options.psnr is None else peak**2 * 10 ** (-options.psnr / 10)

    with torch.no_grad():
        for step in range(options.steps + 1):
            if stop():
                raise Interrupted
            layers = optimiser.parameters.layers
            error = mlps.forward(layers).sub_(wanted)
            if step % options.check_every == 0 or step == options.steps:
                mean = error.double().square().mean(dim=(1, 2))
                bad = (~torch.isfinite(mean)).nonzero()
                if len(bad):
                    which = int(active[bad[0, 0]])
                    raise ZooError(
                        f"sample {samples[which]}, view {views[which]}: the error is {float(mean[bad[0, 0]])} after "
                        f"{step} steps; lower the learning rate (now {options.lr:g})"
                    )
                done = mean <= enough
                if step == options.steps:
                    done = torch.ones_like(done)
                if bool(done.any()):
                    index, rest = active[done], _at_least_two((~done).nonzero()[:, 0])
                    for whole, layer in zip(final, layers, strict=True):
                        whole[index] = layer[done]
                    loss[index] = mean[done]
                    steps[index.cpu().numpy()] = step
                    if not len(rest):
                        break
                    optimiser.keep(rest)
                    active, wanted, error = active[rest], wanted[rest], error[rest]
                    # the buffers hold the pass of all; the backward pass below needs that of those left
                    layers = optimiser.parameters.layers
                    error = mlps.forward(layers).sub_(wanted)
            error.mul_(2 / (points * d_out))
            mlps.backward(layers, error, optimiser.gradients.layers)
            optimiser.step(step + 1, rate(options.lr, options.schedule, step + 1, options.steps))

    mse = loss.cpu().numpy()
    with np.errstate(divide="ignore"):
        psnr = 10 * np.log10(peak**2 / mse)
    return Fitted(_weights(architecture, final, mlps.scales), mse, psnr, steps)


def _at_least_two(index: Tensor) -> Tensor:
    return index.repeat(2) if len(index) == 1 else index


def _weights(architecture: Architecture, layers: list[Tensor], scales: Sequence[float]) -> Weights:
    """From the layout of `BatchedMLP` (transposed, bias as last row, hidden layers times their ω) to the graph's."""
    tensors = {}
    for depth, (layer, scale) in enumerate(zip(layers, scales, strict=True), start=1):
        layer = layer.cpu().clone() / scale
        tensors[f"W{depth}"] = layer[:, :-1].transpose(1, 2).contiguous()
        tensors[f"b{depth}"] = layer[:, -1].contiguous()
    return Weights(architecture.graph(), tensors)


def fit_networks(
    architecture: Architecture,
    coordinates: Tensor,
    targets: Tensor,
    samples: np.ndarray,
    views: np.ndarray,
    options: FitOptions,
    *,
    peak: float = 1.0,
    progress: Callable[[Fitted], None] = lambda group: None,
    stop: Callable[[], bool] = lambda: False,
) -> Fitted:
    """`fit_group` over any number of networks, a group at a time; `progress` gets each finished group."""
    group = options.group or cached_group(architecture, coordinates.shape[0], coordinates.is_cuda)
    parts = []
    for low in range(0, len(samples), group):
        chosen = slice(low, low + group)
        here = (targets[chosen], samples[chosen], views[chosen])
        parts.append(fit_group(architecture, coordinates, *here, options, peak=peak, stop=stop))
        progress(parts[-1])
    return Fitted.cat(parts)
