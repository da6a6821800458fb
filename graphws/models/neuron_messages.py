"""Messages from neurons along edges, by PyTorch Geometric.

Its import takes seconds, so that only a model that passes such messages imports this module, when it is built.
"""

from __future__ import annotations

from torch import Tensor
from torch_geometric.nn import MessagePassing


class EdgeMessages(MessagePassing):  # type: ignore[misc]
    """What neurons receive: the sum over edges of ReLU(sender + edge), the messages of GINE.

    Hu et al., "Strategies for Pre-training Graph Neural Networks", 2020.

    Shapes:
        (senders, batch, width), edges (edges, batch, width) -> (receivers, batch, width).
    """

    def __init__(self) -> None:
        super().__init__(aggr="sum", node_dim=0)

    def forward(self, senders: Tensor, edges: Tensor, index: Tensor, receivers: int) -> Tensor:
        """Sends and sums."""
        result: Tensor = self.propagate(index, x=(senders, None), edge=edges, size=(senders.shape[0], receivers))
        return result

    def message(self, x_j: Tensor, edge: Tensor) -> Tensor:
        """One message an edge."""
        return (x_j + edge).relu()
