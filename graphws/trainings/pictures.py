"""Pictures as an experiment sees them: cropped, averaged to a small grid, moved, and changed in light and colour.

Pictures are (points, channels, rows, columns).  What a network reads is standardised with one mean and one deviation
for the whole data set, so that a move of pixels stays a permutation of the inputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

from graphws.errors import DataError
from graphws.graph import Monomial
from graphws.graph.element import SpaceElement
from graphws.spec import PictureSection, SymmetryExperiment
from graphws.zoo.picture_changes import jittered
from graphws.zoo.sources.labelled_pictures import Pictures, pictures_from, to_float


def load_pictures_of(experiment: SymmetryExperiment) -> Pictures:
    """The pictures that an experiment names.

    Raises:
        DataError: When the source is missing or damaged, gives no square pictures or no classes.
        ZooError: When too few are left for a part.
    """
    return pictures_from(experiment.source.build(), experiment.pictures.test)


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
        count, device = len(pixels), pixels.device
        cuts = self._cuts(pixels)
        above, left = (cuts[torch.randint(len(cuts), (count, 1), generator=generator, device=device)] for _ in range(2))
        x = above @ to_float(pixels) @ left.mT
        element = torch.randint(len(self.moves), (count,), generator=generator, device=device)
        x = x.flatten(1).gather(1, self.moves[element]).reshape(x.shape)
        x = jittered(x, self.section.jitter, generator)
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
