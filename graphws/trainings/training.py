"""Training a network with the loss of paper I, equation 22, straight from its graph.

    ℓ(f(x), y) + λ · mse(f(g x), g f(x)),      λ = 0 in the first half of the steps,

with ℓ the mean squared error of an autoencoder (y = x) or the cross entropy of a classifier, and g ≠ 1 drawn anew for
every step (there is only one where the group is the mirror).  For a permutation g this is the paper's
mse(f(x), mirror[f(mirror[x])]).

Parameters are those of `graphws.graph.Weights` and the forward pass is the graph's own, so what comes out is ready for
`graphws.actions`.  A step takes milliseconds and the pictures stay on the device, so this is a plain loop; its state is
weights, AdamW's moments, the generator and the number of steps, and a training that goes on from a checkpoint gives the
weights of one that was never stopped, bit for bit.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from graphws.errors import RunError
from graphws.graph import NetworkGraph, Weights
from graphws.reporter import Reporter
from graphws.runtime.files import make_folder, write_csv
from graphws.runtime.model_file import read_model, save_model
from graphws.shown import Shown
from graphws.spec import SymmetryExperiment, SymmetryTraining
from graphws.threads import torch_threads
from graphws.trainings.design import Design, design_of
from graphws.zoo.sources.labelled_pictures import Pictures

LAST = "last.safetensors"
TOLD_EVERY = 10
"""Steps between two movements of the progress bar."""
LOOKED_AT = 2000
"""Test pictures at a look during the training; at the end all are used."""


@dataclass(frozen=True, eq=False, repr=False)
class Trained(Shown):
    """A trained network.

    Attributes:
        design: Of the training.
        weights: The network, a batch of one, on the CPU.
        history: Metrics along the way: ``step``, ``lr``, ``train_loss``, ``equivariance``, ``r2`` or ``accuracy``,
            and ``seconds``.
    """

    design: Design
    weights: Weights
    history: tuple[Mapping[str, float], ...]

    def probes(self, pictures: Pictures) -> Tensor:
        """Views of test pictures on which the layers are measured, (points, channels, rows, columns)."""
        return self.design.crop.central(pictures.part(True, self.design.experiment.probes)[0])


def train(
    experiment: SymmetryExperiment,
    pictures: Pictures,
    *,
    device: torch.device | str = "cpu",
    folder: Path | None = None,
    reporter: Reporter | None = None,
) -> Trained:
    """Train a network, or go on with a training that was stopped.

    Args:
        experiment: The section of a spec.
        pictures: What to learn from; they are held on the device.
        device: Where to train.
        folder: Keeps, at every look, ``last.safetensors``, from which a training goes on, and ``metrics.csv``; None
            keeps nothing.
        reporter: Hears of the progress.

    Raises:
        RunError: When the loss stops being a number, or a file cannot be written, read or is another training's.
        KeyboardInterrupt: On Ctrl-C; with a folder, calling again goes on from the last look.
    """
    reporter = reporter or Reporter()
    design = design_of(experiment, pictures)
    steps, every = experiment.train.steps, experiment.train.check_every
    threads = experiment.train.threads or torch.get_num_threads()
    title = f"{experiment.task} {'-'.join(map(str, experiment.network.hidden))}"
    with torch_threads(threads):
        training = Training(design, pictures, torch.device(device))
        if folder is not None and (make_folder(folder) / LAST).exists():
            try:
                training.load(folder / LAST)
            except Unusable as error:
                reporter.note(f"{error}: the network is trained anew".replace("\n", " "))
                (folder / LAST).unlink()
                training = Training(design, pictures, torch.device(device))
            if training.history:  # the table of the last look may not have been written
                write_csv(folder / "metrics.csv", list(training.history[-1]), training.history)
        reporter.start(title, steps, "steps")
        try:
            while training.step < steps:
                loss = training.advance()
                metrics = training.history[-1] if training.history else {}
                if training.step % every == 0 or training.step == steps:
                    metrics = training.look(loss)
                    if folder is not None:
                        training.save(folder / LAST)
                        write_csv(folder / "metrics.csv", list(metrics), training.history)
                    reporter.step(training.step, metrics)
                elif training.step % TOLD_EVERY == 0:
                    reporter.step(training.step, metrics)
        finally:
            reporter.end()
    return Trained(design, training.held(), tuple(training.history))


class Unusable(RunError):
    """A checkpoint is damaged."""


class Training:
    """The state of a training.

    Args:
        design: What is trained.
        pictures: On what.
        device: Where.
    """

    def __init__(self, design: Design, pictures: Pictures, device: torch.device) -> None:
        self.design, self.device = design.to(device), device
        self.section: SymmetryTraining = design.experiment.train
        self.pixels, self.labels = (x.to(device) for x in pictures.part(False))
        pixels, self._test_labels = (x.to(device) for x in pictures.part(True, LOOKED_AT))
        self._test_crops = self.design.crop.central(pixels)
        self.generator = torch.Generator(device).manual_seed(self.section.seed)
        self.tensors = {name: x.requires_grad_() for name, x in start(design.graph, self.generator).items()}
        self.weights = Weights(design.graph, self.tensors)
        decay = self.section.weight_decay
        self.optimizer = torch.optim.AdamW(self.tensors.values(), lr=self.section.lr, weight_decay=decay)
        self.step = 0
        self.history: list[Mapping[str, float]] = []
        self.digest = pictures.digest
        self._earlier, self._since = 0.0, time.perf_counter()

    def advance(self) -> Tensor:
        """One step; the loss before it."""
        batch = (self.section.batch_size,)
        index = torch.randint(len(self.pixels), batch, generator=self.generator, device=self.device)
        crops = self.design.crop.random(self.pixels[index], self.generator)
        order = self.design.symmetry.order
        element = int(torch.randint(1, order, (), generator=self.generator, device=self.device)) if order > 2 else 1
        loss = self.loss(crops, self.labels[index], element)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.section, self.step)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.step += 1
        return loss.detach()

    def loss(self, crops: Tensor, labels: Tensor, element: int) -> Tensor:
        """Equation 22 at the present step, for one element of the group."""
        design = self.design
        outputs = design.run(self.weights, crops)
        loss = design.objective.loss(outputs, crops, labels)
        factor = equivariance_factor(self.section, self.step)
        if factor > 0:
            moved = design.run(self.weights, design.move(crops, element))
            loss = loss + factor * functional.mse_loss(moved, design.move_outputs(outputs, element))
        return loss

    def look(self, loss: Tensor) -> Mapping[str, float]:
        """Metrics on test pictures, added to the history.

        Raises:
            RunError: When the loss is not a number any more.
        """
        value = float(loss)
        if not math.isfinite(value):
            raise RunError(
                f"the loss became NaN or infinite before step {self.step}; try a smaller experiment.train.lr"
            )
        with torch.no_grad():
            found = evaluate(self.design, self.weights, self._test_crops, self._test_labels)
        rate = learning_rate(self.section, self.step - 1)
        seconds = round(self._earlier + time.perf_counter() - self._since, 2)
        self.history.append({"step": self.step, "lr": rate, "train_loss": value, **found, "seconds": seconds})
        return self.history[-1]

    def held(self) -> Weights:
        """The weights as they are now, on the CPU."""
        return self.weights.map(lambda x: x.detach().to("cpu", copy=True))

    def save(self, path: Path) -> None:
        """Keep the state of the training, whole or not at all."""
        state = {f"weight.{name}": x for name, x in self.tensors.items()}
        for name, x in self.tensors.items():
            moments = self.optimizer.state[x]
            state |= {f"mean.{name}": moments["exp_avg"], f"square.{name}": moments["exp_avg_sq"]}
        state["generator"] = self.generator.get_state()
        save_model(
            path,
            state,
            {**self._identity(), "device": self.device.type, "step": self.step, "history": self.history},
        )

    def load(self, path: Path) -> None:
        """Take up a training that was stopped.

        Raises:
            Unusable: When the file is damaged.
            RunError: When it is of another training, or of one on another kind of device.
        """
        try:
            state, description = read_model(path)
        except RunError as error:
            raise Unusable(str(error)) from error
        known = self._identity()
        if {key: description.get(key) for key in known} != known:
            raise RunError(f"the checkpoint {path} is of another training; delete it to train anew")
        if description["device"] != self.device.type:
            raise RunError(
                f"the checkpoint {path} is of a training on {description['device']}, whose random numbers cannot go on "
                f"on {self.device.type}; delete it to train anew"
            )
        self.step, self.history = description["step"], description["history"]
        self._earlier = self.history[-1]["seconds"] if self.history else 0.0
        for name, x in self.tensors.items():
            x.data.copy_(state[f"weight.{name}"])
            self.optimizer.state[x] = {
                "step": torch.tensor(float(self.step)),
                "exp_avg": state[f"mean.{name}"].to(self.device),
                "exp_avg_sq": state[f"square.{name}"].to(self.device),
            }
        self.generator.set_state(state["generator"])

    def _identity(self) -> dict[str, Any]:
        """What must agree for a training to go on."""
        looks = {"probes": True, "decoys": True}
        return {
            "experiment": self.design.experiment.model_dump(mode="json", exclude=looks),
            "pictures": self.digest,
        }


def learning_rate(section: SymmetryTraining, step: int) -> float:
    """A cosine from ``lr`` at step 0 to 0 after the last."""
    return section.lr * 0.5 * (1 + math.cos(math.pi * step / section.steps))


def equivariance_factor(section: SymmetryTraining, step: int) -> float:
    """λ of equation 22: 0 in the first half."""
    return section.equivariance if step >= section.steps // 2 else 0.0


def start(graph: NetworkGraph, generator: torch.Generator) -> Weights:
    """Random weights: uniform within 1/√inputs of a layer, as PyTorch's linear layers; what has no inputs within 0.02.

    (Positional encodings and the learned query are what has none.)
    """
    inputs: dict[str, int] = {}
    for operation in graph.operations:
        if operation.kind == "linear":
            weight = operation.inputs[1]
            inputs |= dict.fromkeys(operation.inputs[1:], graph.shape(weight)[-1])
    tensors = {}
    for parameter in graph.parameters:
        bound = 1 / math.sqrt(inputs[parameter.name]) if parameter.name in inputs else 0.02
        unit = torch.rand(1, *graph.shape(parameter.name), generator=generator, device=generator.device)
        tensors[parameter.name] = bound * (2 * unit - 1)
    return Weights(graph, tensors)


def evaluate(design: Design, weights: Weights, crops: Tensor, labels: Tensor) -> dict[str, float]:
    """Metrics on test pictures.

    Returns:
        dict: ``equivariance``, the largest ‖f(g x) - g f(x)‖ / ‖f - mean‖ over the group; and the metric of
        the objective.
    """
    outputs = design.run(weights, crops)
    spread = (outputs - outputs.mean(0)).norm()
    gaps = [
        (design.run(weights, design.move(crops, g)) - design.move_outputs(outputs, g)).norm() / spread
        for g in range(1, design.symmetry.order)
    ]
    metrics = {"equivariance": float(torch.stack(gaps).max())}
    return metrics | {design.objective.metric: float(design.objective.score(outputs, crops, labels))}
