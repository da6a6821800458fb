"""Set layers: what maps the elements of one set, each with all the others in view.

Law: a permutation of the elements permutes what comes out.  Pairs of parameters of like sizes are run side by side,
each by a layer of its own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from graphws.errors import UsageError
from graphws.layers.published.initial import matrices, offsets, product
from graphws.pooling import FixedPooling


class SetLayer(nn.Module):
    """Several set layers side by side.

    Args:
        count: How many.
        inputs: Channels of an element that come in.
        outputs: Channels of an element that go out.
        heads: Heads of attention.
        pooling: How the set is summarised where it is.
        scale: Factor on the initial weights.

    Shapes:
        (count, batch, elements, inputs) -> (count, batch, elements, outputs).
    """

    words: ClassVar[str]
    """What it is, as explanations say it: of which spaces, with how many heads."""

    def __init__(
        self, count: int, inputs: int, outputs: int, heads: int, pooling: FixedPooling, scale: float = 1.0
    ) -> None:
        super().__init__()
        self.outputs, self.heads, self.pooling = outputs, heads, pooling


class SetAttention(SetLayer):
    """Attention among the elements, then a residual map (Lee et al. 2019, Set Transformer, eq. 6 and 7, no norms).

    With Q, K and V affine in x and o = Q + softmax(Q Kᵀ / √outputs) V, head by head: o + relu(o A + a).

    Raises:
        UsageError: Where heads do not divide the outputs.
    """

    words = "attention among {spaces}, {heads}"

    def __init__(
        self, count: int, inputs: int, outputs: int, heads: int, pooling: FixedPooling, scale: float = 1.0
    ) -> None:
        super().__init__(count, inputs, outputs, heads, pooling, scale)
        if outputs % heads:
            raise UsageError(f"set attention: {heads} heads do not divide {outputs} channels")
        self.read = nn.Parameter(matrices(count, inputs, 3 * outputs, outputs=outputs, scale=scale))
        self.read_offset = nn.Parameter(offsets(count, 3 * outputs))
        self.write = nn.Parameter(matrices(count, outputs, outputs, outputs=outputs, scale=scale))
        self.write_offset = nn.Parameter(offsets(count, outputs))

    @staticmethod
    def parameters_of(inputs: int, outputs: int) -> int:
        """How many parameters one has."""
        return 3 * (inputs + 1) * outputs + (outputs + 1) * outputs

    def forward(self, x: Tensor) -> Tensor:
        """Applies the layers; see the class for shapes."""
        count, batch, elements, _ = x.shape
        read = product(x.flatten(1, 2), self.read, self.read_offset)
        query, key, value = read.view(count, batch, elements, 3, self.heads, -1).unbind(3)
        attended = torch.stack(
            [
                functional.scaled_dot_product_attention(
                    q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), scale=1 / math.sqrt(self.outputs)
                ).transpose(1, 2)
                for q, k, v in zip(query, key, value, strict=True)
            ]
        )
        mixed = (query + attended).reshape(count, batch * elements, self.outputs)
        mixed = mixed + product(mixed, self.write, self.write_offset).relu()
        return mixed.view(count, batch, elements, self.outputs)


class DeepSets(SetLayer):
    """x Γ + γ minus the pooled set times Λ (Zaheer et al. 2017)."""

    words = "DeepSets over {spaces}"

    def __init__(
        self, count: int, inputs: int, outputs: int, heads: int, pooling: FixedPooling, scale: float = 1.0
    ) -> None:
        super().__init__(count, inputs, outputs, heads, pooling, scale)
        self.own = nn.Parameter(matrices(count, inputs, outputs, outputs=outputs, scale=scale))
        self.offset = nn.Parameter(offsets(count, outputs))
        self.others = nn.Parameter(matrices(count, inputs, outputs, outputs=outputs, scale=scale))

    @staticmethod
    def parameters_of(inputs: int, outputs: int) -> int:
        """How many parameters one has."""
        return (2 * inputs + 1) * outputs

    def forward(self, x: Tensor) -> Tensor:
        """Applies the layers; see the class for shapes."""
        own = product(x.flatten(1, 2), self.own, self.offset).view(*x.shape[:3], self.outputs)
        return own - (self.pooling.pool(x, (2,)) @ self.others).unsqueeze(2)


SET_LAYERS: Mapping[str, type[SetAttention] | type[DeepSets]] = MappingProxyType(
    {"attention": SetAttention, "deepsets": DeepSets}
)
"""The class of every set layer by the word that specs have for it."""
