"""Pictures as an experiment sees them: cropped, averaged to a small grid, moved, and changed in light and colour.

Pictures are (points, channels, rows, columns).  What a network reads is standardised with one mean and one deviation
for the whole data set, so that a move of pixels stays a permutation of the inputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from graphws.errors import DataError
from graphws.graph import Monomial
from graphws.graph.element import SpaceElement
from graphws.spec import PictureSection, SymmetryExperiment
from graphws.zoo import Samples, SplitOptions, split_samples


@dataclass(frozen=True, eq=False)
class Pictures:
    """Pictures with classes, for training and for tests.

    Args:
        pixels: (points, channels, side, side), bytes or floats in [0, 1].
        labels: (points,) class numbers.
        test: (points,) bool: which are for tests.
        classes: How many classes there are.
        digest: A fingerprint of the source.

    Raises:
        DataError: Where shapes disagree, pictures are not square, a part is empty, or a label is no class.
    """

    pixels: Tensor
    labels: Tensor
    test: Tensor
    classes: int
    digest: str = ""

    def __post_init__(self) -> None:
        shape = tuple(self.pixels.shape)
        if len(shape) != 4 or shape[2] != shape[3]:
            raise DataError(f"pictures must be square: (points, channels, rows, columns), got shape {shape}")
        if len(self.labels) != shape[0] or len(self.test) != shape[0]:
            raise DataError(f"{shape[0]} pictures, {len(self.labels)} labels and {len(self.test)} marks do not agree")
        if bool(self.test.all()) or not bool(self.test.any()):
            raise DataError("an experiment needs pictures for training and for tests; one of the two parts is empty")
        if not 0 <= int(self.labels.min()) <= int(self.labels.max()) < self.classes:
            raise DataError(f"labels run from {int(self.labels.min())} to {int(self.labels.max())}, not below the "
                            f"{self.classes} classes")  # fmt: skip

    def part(self, test: bool, most: int | None = None) -> tuple[Tensor, Tensor]:
        """Pixels and labels of the test or training part; `most` of them, evenly spread, where that is given."""
        index = (self.test == test).nonzero().flatten()
        if most is not None and most < len(index):
            index = index[torch.linspace(0, len(index) - 1, most, device=index.device).long()]
        return self.pixels[index], self.labels[index]

    def statistics(self) -> tuple[float, float]:
        """Mean and deviation of all pixels for training."""
        sums = torch.zeros(3, dtype=torch.float64)
        for index in (~self.test).nonzero().flatten().split(4096):
            x = to_float(self.pixels[index]).double()
            sums += torch.stack([torch.tensor(float(x.numel())).double(), x.sum().cpu(), x.square().sum().cpu()])
        count, first, second = sums.tolist()
        return first / count, float(max(second / count - (first / count) ** 2, 1e-12) ** 0.5)


def load_pictures_of(experiment: SymmetryExperiment) -> Pictures:
    """The pictures that an experiment names.

    Raises:
        DataError: When the source is missing or damaged, gives no square pictures or no classes.
        ZooError: When too few are left for a part.
    """
    return pictures_from(experiment.source.build(), experiment.pictures.test)


def pictures_from(samples: Samples, test: float) -> Pictures:
    """Samples of a picture source as pictures; without a test set of their own, the fraction `test` of every class."""
    shape, channels = samples.shape, samples.values.shape[2]
    if len(shape) != 2 or shape[0] != shape[1] or "label" not in samples.table:
        what = "x".join(map(str, shape))
        raise DataError(f"source {samples.source!r} gives {what} signals; an experiment needs square pictures by class")
    labels = np.asarray(samples.table["label"], dtype=np.int64)
    marks = samples.test
    if marks is None:
        marks = split_samples(len(samples), SplitOptions(0.0, test), labels=labels) == "test"
    pixels = samples.values.unflatten(1, shape).movedim(3, 1).contiguous()
    classes = len(samples.classes) or int(labels.max()) + 1
    assert pixels.shape[1] == channels
    return Pictures(pixels, torch.from_numpy(labels), torch.from_numpy(marks), classes, samples.digest())


def to_float(pixels: Tensor) -> Tensor:
    """Bytes as floats in [0, 1]."""
    return pixels.float() / 255 if pixels.dtype == torch.uint8 else pixels.float()


@dataclass(frozen=True, eq=False)
class Crop:
    """What a network sees of pictures (see `graphws.spec.PictureSection`).

    Laws: `central` commutes with every move of the square; `random` with none, but its distribution does with the
    group's, since each picture is moved by a random element.

    Args:
        section: Crop, grid and changes.
        moves: What each element of the group does to a flattened crop: permutations.
        mean: Subtracted from pixels in [0, 1].
        deviation: By which they are divided then.
    """

    section: PictureSection
    moves: Tensor
    mean: float
    deviation: float

    def to(self, device: torch.device | str) -> Crop:
        """The same for pictures on another device."""
        return replace(self, moves=self.moves.to(device))

    def central(self, pixels: Tensor) -> Tensor:
        """The crop in the middle of every picture, standardised, (points, channels, size, size)."""
        cuts = self._cuts(pixels)
        middle = cuts[len(cuts) // 2]
        return (middle @ to_float(pixels) @ middle.mT - self.mean) / self.deviation

    def random(self, pixels: Tensor, generator: torch.Generator) -> Tensor:
        """Every picture in a crop of its own, moved and changed in light and colour, standardised."""
        count, channels, jitter, device = len(pixels), pixels.shape[1], self.section.jitter, pixels.device

        def factor(*shape: int, spread: float) -> Tensor:
            return 1 + spread * (2 * torch.rand(*shape, generator=generator, device=device) - 1)

        cuts = self._cuts(pixels)
        above, left = (cuts[torch.randint(len(cuts), (count, 1), generator=generator, device=device)] for _ in range(2))
        x = above @ to_float(pixels) @ left.mT
        element = torch.randint(len(self.moves), (count,), generator=generator, device=device)
        x = x.flatten(1).gather(1, self.moves[element]).reshape(x.shape)
        x = x * factor(count, 1, 1, 1, spread=jitter)
        mean = x.mean((1, 2, 3), keepdim=True)
        x = mean + (x - mean) * factor(count, 1, 1, 1, spread=jitter)
        if channels > 1:
            x = x * factor(count, channels, 1, 1, spread=jitter / 2)
        return (x.clamp(0, 1) - self.mean) / self.deviation

    def shown(self, crops: Tensor) -> Tensor:
        """Views as pictures again, in [0, 1]."""
        return (crops * self.deviation + self.mean).clamp(0, 1)

    def _cuts(self, pixels: Tensor) -> Tensor:
        """For every place of a crop the map from a line of pixels to the grid: means of those that a cell covers.

        (places, size, side); a crop of a picture X, at place r down and c across, is cuts[r] X cuts[c]ᵀ.

        Raises:
            DataError: When a crop has fewer pixels than the grid.
        """
        side, size = pixels.shape[-1], self.section.size
        taken = self.section.crop_side(side)
        if taken < size:
            raise DataError(
                f"the pictures have {side} pixels along a side, a crop of {self.section.crop:g} of them {taken}: "
                f"fewer than the {size} of experiment.pictures.size"
            )
        inside = functional.adaptive_avg_pool1d(torch.eye(taken, device=pixels.device).unsqueeze(0), size)[0].mT
        return torch.stack([functional.pad(inside, (k, side - taken - k)) for k in range(side - taken + 1)])


def permutations(elements: Sequence[SpaceElement]) -> Tensor:
    """The permutations of a group of moves, (elements, numbers): place i gets what was at place p[i]."""
    found = []
    for element in elements:
        assert isinstance(element, Monomial)
        assert element.scale is None
        found.append(element.perm)
    return torch.stack(found)
