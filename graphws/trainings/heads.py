"""How attention heads answer to a symmetry: paper I's figure 3.

Every head looks at the patches of a picture with some weights, its *attention map*.  For a mirrored picture a head may
show its mirrored map, or another head may show it: then the mirror permutes the heads.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from graphws.errors import UsageError
from graphws.operations import run_values
from graphws.shown import Shown
from graphws.trainings.design import Design
from graphws.trainings.training import Trained

CLEARLY = 0.1
"""Heads count as permuting where their maps agree with those of others by so much more than with their own.

That is the mean over the heads that change places with one another: what one gains another may lose.
"""


@dataclass(frozen=True, eq=False, repr=False)
class HeadMatch(Shown):
    """The permutation of heads that one element of the group induces, as far as attention maps tell.

    Attributes:
        maps: (points, heads, rows, columns) attention maps of pictures.
        moved: The same of the moved pictures.
        agreement: (heads, heads) correlation of head i's maps, moved, with head j's maps of the moved pictures.
        partner: (heads,) the head whose maps fit head i's best, one to one; itself unless others are `CLEARLY` so.
    """

    maps: Tensor
    moved: Tensor
    agreement: Tensor
    partner: Tensor

    @property
    def permuting(self) -> list[int]:
        """The heads whose place another one takes, by clearly more than rounding or a tie."""
        return (self.partner != torch.arange(len(self.partner))).nonzero().flatten().tolist()


def match_heads(maps: Tensor, moved: Tensor, turn: Tensor) -> HeadMatch:
    """The match of heads from their maps on pictures and on moved pictures.

    Args:
        maps: (points, heads, rows, columns).
        moved: The same for the moved pictures.
        turn: What the element does to a flattened map, a permutation.
    """
    heads = maps.shape[1]
    rows = []
    for x in (maps.flatten(2)[..., turn], moved.flatten(2)):
        flat = x.double().transpose(0, 1).reshape(heads, -1)
        flat = flat - flat.mean(1, keepdim=True)
        rows.append(flat / flat.norm(dim=1, keepdim=True).clamp_min(torch.finfo(flat.dtype).tiny))
    agreement = rows[0] @ rows[1].mT
    _, partner = linear_sum_assignment(agreement.numpy(), maximize=True)
    return HeadMatch(maps, moved, agreement, _clear(agreement, torch.from_numpy(partner).long()))


def _clear(agreement: Tensor, partner: Tensor) -> Tensor:
    """The permutation without the cycles in which heads hardly gain."""
    found = torch.arange(len(partner))
    gain = agreement[found, partner] - agreement.diagonal()
    for head in range(len(partner)):
        cycle = [head]
        while int(partner[cycle[-1]]) != head:
            cycle.append(int(partner[cycle[-1]]))
        if float(gain[cycle].mean()) > CLEARLY:
            found[head] = partner[head]
    return found


def attention_maps(trained: Trained, crops: Tensor) -> Tensor:
    """Attention of the learned query to the patches of crops, (points, heads, rows, columns).

    Raises:
        UsageError: Where the network has no attention.
    """
    design = trained.design
    if not design.attends:
        raise UsageError("this network has no attention heads: look at its filters")
    with torch.no_grad():
        maps = run_values(design.graph, trained.weights, crops.to(trained.weights.dtype), ["a1"])["a1"][0, :, :, 0]
    grid: Tensor = maps.unflatten(-1, _grid(design))
    return grid


def heads_of(trained: Trained, crops: Tensor, element: int) -> HeadMatch:
    """The match of a trained network's heads under an element of the group."""
    design = trained.design
    rows, columns = _grid(design)
    pixels = torch.arange(rows * columns, dtype=torch.float64).reshape(1, 1, rows, columns)
    patch = design.shape[1] // rows
    table = pixels.repeat_interleave(patch, -1).repeat_interleave(patch, -2).expand(1, *design.shape)
    turn = design.move(table.contiguous(), element)[0, 0, ::patch, ::patch].flatten().long()
    moved = attention_maps(trained, design.move(crops, element))
    return match_heads(attention_maps(trained, crops), moved, turn)


def _grid(design: Design) -> tuple[int, int]:
    """Rows and columns of patches."""
    attention = design.experiment.network.attention
    assert attention is not None
    side = design.shape[1] // attention.patch
    return side, side
