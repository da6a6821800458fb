"""Corrupted pictures for networks that name classes: random ones to learn from, fixed ones to be judged on."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from graphws.errors import DataError
from graphws.zoo.picture_changes import Corruption
from graphws.zoo.sources.labelled_pictures import Pictures, to_float

PORTION = 4096
"""Pictures that are corrupted at a time."""


class PictureDraws:
    """Corrupted pictures of the classes that each network knows.

    Args:
        pictures: For training and for tests.
        corruption: Done to every picture, by draws of its own.
        shape: What networks read of one picture: (channels, rows, columns), or their product in that order.
        mean: Subtracted from numbers in [0, 1].
        deviation: By which they are divided then.
        judged: How many pictures of the test part a network is judged on, at most.
        seed: Of the changes of the test part.

    Raises:
        DataError: Where pictures have another number of values than networks read.
    """

    def __init__(
        self,
        pictures: Pictures,
        corruption: Corruption,
        shape: Sequence[int],
        mean: float = 0.0,
        deviation: float = 1.0,
        judged: int = 200,
        seed: int = 0,
    ) -> None:
        found = tuple(pictures.pixels.shape[1:])
        if tuple(shape) not in (found, (found[0] * found[1] * found[2],)):
            read, given = "x".join(map(str, shape)), "x".join(map(str, found))
            raise DataError(f"the networks read {read} numbers, and the pictures of task.target.data are {given}")
        self.pictures, self.corruption, self.shape = pictures, corruption, tuple(shape)
        self.mean, self.deviation, self.judged, self.seed = mean, deviation, judged, seed
        self._held: dict[tuple[torch.device, bool], tuple[Tensor, Tensor]] = {}

    @property
    def classes(self) -> int:
        """How many classes there are."""
        return self.pictures.classes

    def check(self, known: Int64[Tensor, "networks known"]) -> None:
        """Whether there are pictures of every class that a network knows, in both parts; `DataError` where not."""
        for test in (False, True):
            self._places(self.pictures.part(test)[1].to(known.device), known)

    def random(
        self, known: Int64[Tensor, "batch known"], count: int, generator: torch.Generator
    ) -> tuple[Float[Tensor, "batch count *shape"], Int64[Tensor, "batch count"]]:
        """Pictures of the training part for each network, drawn with replacement and corrupted, and their classes.

        Args:
            known: The classes of which a network gets pictures; without columns: all.
            count: Pictures for each network.
            generator: Lives on the device of `known`.
        """
        pixels, labels = self._part(known.device, test=False)
        first, sizes = self._places(labels, known)
        ends = sizes.cumsum(1)
        draw = torch.rand(len(known), count, generator=generator, device=known.device, dtype=torch.float64)
        place = (draw * ends[:, -1:]).long()  # among the pictures of the network's classes, class by class
        which = (place[:, :, None] >= ends[:, None]).sum(2).clamp(max=ends.shape[1] - 1)
        index = first.gather(1, which) + place - (ends - sizes).gather(1, which)
        changed = self.corruption(to_float(pixels[index.flatten()]), generator)
        return self._read(changed).unflatten(0, index.shape), labels[index]

    def fixed(
        self, known: Int64[Tensor, "batch known"]
    ) -> tuple[Float[Tensor, "batch count *shape"], Int64[Tensor, "batch count"]]:
        """Pictures of the test part for each network, corrupted once and for all, and their classes.

        All networks that know the same classes get the same, spread evenly over them.
        """
        pixels, labels = self._part(known.device, test=True)
        first, sizes = self._places(labels, known)
        ends = sizes.cumsum(1)
        smallest = torch.bincount(labels, minlength=self.classes).sort().values
        most = len(labels) if not known.shape[1] else int(smallest[: known.shape[1]].sum())
        count = min(self.judged, most)
        step = torch.linspace(0, 1, count, device=known.device, dtype=torch.float64)
        place = (step * (ends[:, -1:] - 1)).round().long()
        which = (place[:, :, None] >= ends[:, None]).sum(2)
        index = first.gather(1, which) + place - (ends - sizes).gather(1, which)
        return self._read(pixels[index.flatten()]).unflatten(0, index.shape), labels[index]

    def examples(self, count: int) -> tuple[Tensor, Tensor]:
        """Some pictures of the test part, and the same corrupted, (count, channels, rows, columns), in [0, 1]."""
        pixels, labels = self.pictures.part(test=True)
        chosen = labels.argsort(stable=True)[torch.linspace(0, len(labels) - 1, min(count, len(labels))).long()]
        corrupted, _ = self._part(torch.device("cpu"), test=True)
        places = labels.argsort(stable=True).argsort()[chosen]
        return to_float(pixels[chosen]), corrupted[places]

    def _part(self, device: torch.device, test: bool) -> tuple[Tensor, Tensor]:
        """Pictures and labels of a part, sorted by class; those for tests corrupted.  Moved to a device once."""
        if (device, test) not in self._held:
            pixels, labels = self.pictures.part(test)
            order = labels.argsort(stable=True)
            pixels, labels = pixels[order], labels[order]
            if test:  # on the processor, so that every device sees the same
                generator = torch.Generator().manual_seed(self.seed)
                pixels = torch.cat([self.corruption(to_float(part), generator) for part in pixels.split(PORTION)])
            self._held[device, test] = pixels.to(device), labels.to(device)
        return self._held[device, test]

    def _places(self, labels: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
        """Where the pictures of each class that a network knows begin, and how many there are, (batch, known)."""
        if not known.shape[1]:
            return known.new_zeros(len(known), 1), known.new_full((len(known), 1), len(labels))
        sizes = torch.bincount(labels, minlength=self.classes)
        if not 0 <= int(known.min()) <= int(known.max()) < self.classes:
            low, high = int(known.min()), int(known.max())
            raise DataError(f"networks know the classes {low} to {high}, and the pictures have {self.classes}")
        if not bool(sizes[known].all()):
            lacking = int(known.flatten()[int((sizes[known] == 0).flatten().nonzero()[0])])
            raise DataError(f"a part of the pictures has none of class {lacking}, which a network knows")
        return (sizes.cumsum(0) - sizes)[known], sizes[known]

    def _read(self, pictures: Tensor) -> Tensor:
        return ((pictures - self.mean) / self.deviation).reshape(-1, *self.shape)
