"""``zoo.source: {kind: chirps}``: waves whose frequency rises along the way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from graphws.spec import SourceSection
from graphws.spec.section import Count, Positive

if TYPE_CHECKING:
    from graphws.zoo import Samples


class ChirpSource(SourceSection):
    """Chirps sin(r·(x + 1)²) on [-1, 1] with a rate r between 0 and `rate`."""

    coordinates = 1
    values = 1
    columns = ("rate",)
    kind: Annotated[Literal["chirps"], Field(description="Waves whose frequency rises along the way.")]
    count: Annotated[Count, Field(description="Number of chirps.")] = 100
    rate: Annotated[Positive, Field(description="Greatest rate.")] = 4.0
    points: Annotated[Count, Field(ge=2, description="Points of the grid on which a chirp is fitted.")] = 64

    def build(self) -> Samples:
        """The chirps, at rates on a grid."""
        import torch

        from graphws.zoo import Samples

        x = torch.linspace(-1, 1, self.points, dtype=torch.float64)
        rates = torch.linspace(0, self.rate, self.count + 1, dtype=torch.float64)[1:]
        values = torch.sin(rates[:, None] * (x + 1) ** 2).float()
        samples = Samples("chirps", x[:, None], values[:, :, None], peak=2.0, shape=(self.points,),
                          table={"rate": rates.numpy()})  # fmt: skip
        return samples.limited(self.limits())
