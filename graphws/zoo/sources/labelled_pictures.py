"""Pictures with classes, for training and for tests: what a network that names classes is trained on.

A source of pictures gives `Samples`, signals on a grid; `pictures_from` sees the same as arrays (channels, rows,
columns), with the source's own test set, or a share of every class in its place.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from graphws.errors import DataError
from graphws.shown import Shown
from graphws.zoo.sources.samples import Samples
from graphws.zoo.split import SplitOptions, split_samples


@dataclass(frozen=True, eq=False, repr=False)
class Pictures(Shown):
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
            raise DataError("pictures for training and for tests are needed; one of the two parts is empty")
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


def pictures_from(samples: Samples, test: float) -> Pictures:
    """Samples of a picture source as pictures; without a test set of their own, the fraction `test` of every class."""
    shape, channels = samples.shape, samples.values.shape[2]
    if len(shape) != 2 or shape[0] != shape[1] or "label" not in samples.table:
        what = "x".join(map(str, shape))
        raise DataError(f"source {samples.source!r} gives {what} signals; square pictures by class are needed")
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
