"""What an experiment and its pictures determine: the network's graph, the group on its ends, what it sees.

Where paper I leaves something open, this is what it means here:

* *weight decay 0.99*: decoupled, as in AdamW.  Each step shrinks weights by learning rate × 0.99, so over the paper's
  13,000 steps with a cosine schedule by about e^-6.4 in all, against which only useful weights hold.  Read as an L2
  penalty of the loss instead (Adam's ``weight_decay``), 0.99 outweighs the task and the network dies.
* *random crops of the images, resized to 14×14*: a square of 7/8 of the picture's side, drawn anew for every picture,
  averaged over the pixels that fall together.  Tests use the crop in the middle.
* *standard photometric alterations*: brightness and contrast by a random factor within 20 %, each colour within 10 %.
* *the attention network's first activation*: Tanh, as in the first MLPs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from graphws.actions import DataSymmetry, named_symmetry
from graphws.graph import NetworkGraph, Weights
from graphws.operations import forward, mlp_graph
from graphws.operations.builders.attention_pool import attention_pool_graph
from graphws.shown import Shown
from graphws.spec import SymmetryExperiment
from graphws.trainings.objectives import OBJECTIVES, Objective
from graphws.trainings.one_query import attend_once
from graphws.trainings.pictures import Crop, permutations
from graphws.zoo.sources.labelled_pictures import Pictures


@dataclass(frozen=True, eq=False, repr=False)
class Design(Shown):
    """An experiment on certain pictures.

    Attributes:
        experiment: The section of the spec.
        graph: Of the network.
        shape: (channels, rows, columns) of what the network reads.
        symmetry: The group on inputs and outputs.
        crop: What the network sees of a picture.
        objective: What the network is trained for.
        outputs: What each element of the group does to the outputs: permutations, (elements, outputs).
    """

    experiment: SymmetryExperiment
    graph: NetworkGraph
    shape: tuple[int, int, int]
    symmetry: DataSymmetry
    crop: Crop
    objective: Objective
    outputs: Tensor

    @property
    def attends(self) -> bool:
        """Whether the network reads pictures by attention."""
        return self.experiment.network.attention is not None

    def to(self, device: torch.device | str) -> Design:
        """The same for tensors on another device."""
        return replace(self, crop=self.crop.to(device), outputs=self.outputs.to(device))

    def run(self, weights: Weights, crops: Tensor) -> Tensor:
        """f(x) of a batch of one network, (points, outputs): an MLP reads pixels in a row, attention the picture."""
        if self.attends:
            return attend_once(self.graph, weights, crops)
        return forward(self.graph, weights, crops.flatten(1))[0]

    def move(self, crops: Tensor, element: int) -> Tensor:
        """g·x of crops (points, channels, rows, columns)."""
        return crops.flatten(1)[:, self.crop.moves[element]].reshape(crops.shape)

    def move_outputs(self, outputs: Tensor, element: int) -> Tensor:
        """g·y of outputs (points, outputs)."""
        return outputs[:, self.outputs[element]]


def design_of(experiment: SymmetryExperiment, pictures: Pictures) -> Design:
    """The design of an experiment on pictures.

    Raises:
        GraphError: Where the layers do not fit together.
        UsageError: Where the group does not act on such pictures.
    """
    channels, size = pictures.pixels.shape[1], experiment.pictures.size
    shape = (channels, size, size)
    numbers, network = channels * size**2, experiment.network
    objective = OBJECTIVES[experiment.task]
    outputs = objective.outputs(numbers, pictures.classes)
    if network.attention is None:
        graph = mlp_graph([numbers, *network.hidden, outputs], list(network.activations))
    else:
        patch, heads = network.attention.patch, network.attention.heads
        widths = [*network.hidden, outputs]
        graph = attention_pool_graph(channels, (size // patch) ** 2, widths, heads, list(network.activations), patch)
    symmetry = named_symmetry(experiment.group, shape, objective.output_action, outputs=outputs)
    mean, deviation = pictures.statistics()
    crop = Crop(experiment.pictures, permutations(symmetry.input), mean, deviation)
    return Design(experiment, graph, shape, symmetry, crop, objective, permutations(symmetry.output))
