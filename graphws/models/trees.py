"""The baseline of weight statistics: gradient-boosted trees on them (Unterthiner et al., 2020).

scikit-learn grows the trees, once; what answers is plain PyTorch.  The trees are kept as tensors of a fixed size, so
that a state dict holds a whole model and fits into any other of the same options.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from graphws.errors import DataError, UsageError
from graphws.graph import NetworkGraph, Weights
from graphws.models.given import given_networks
from graphws.models.statistics import WeightStatistics

DEEPEST = 12
"""Levels of a tree, at most: the tensors have room for all nodes of a full one."""
UNSEEN = -20.0
"""Logit of a class that no training network has."""


class BoostedTrees(nn.Module):
    """Gradient-boosted trees on weight statistics, for each output so many trees.

    It has no parameters that a gradient reaches: `fit` grows the trees.  Before that every answer is 0.

    Args:
        graphs: Of the networks: one, or several.
        outputs: Length of the output.
        estimators: Trees an output.
        depth: Levels of a tree.
        lr: Factor on each tree.
        subsample: Share of the networks that each tree is grown on.

    Shapes:
        Weights (batch), or a list of them -> (batch, outputs): logits of classes, or real numbers.

    Raises:
        UsageError: On options out of their range.
    """

    def __init__(
        self,
        graphs: NetworkGraph | Sequence[NetworkGraph],
        outputs: int,
        estimators: int = 200,
        depth: int = 3,
        lr: float = 0.1,
        subsample: float = 1.0,
    ) -> None:
        super().__init__()
        if min(outputs, estimators, depth) < 1 or depth > DEEPEST:
            what = f"outputs {outputs}, estimators {estimators}, depth {depth}"
            raise UsageError(f"trees need outputs, estimators and a depth of at least 1, at most {DEEPEST}; got {what}")
        if lr <= 0 or not 0 < subsample <= 1:
            raise UsageError(f"trees need a positive lr and a subsample in (0, 1]; got {lr:g} and {subsample:g}")
        self.statistics = WeightStatistics(graphs)
        self.estimators, self.depth, self.lr, self.subsample = estimators, depth, lr, subsample
        nodes = 2 ** (depth + 1) - 1
        shape = (outputs, estimators, nodes)
        self.constant: Tensor
        self.feature: Tensor
        self.threshold: Tensor
        self.successors: Tensor
        self.value: Tensor
        self.register_buffer("constant", torch.zeros(outputs, dtype=torch.float64))
        self.register_buffer("feature", torch.zeros(shape, dtype=torch.int64))
        self.register_buffer("threshold", torch.zeros(shape, dtype=torch.float64))
        self.register_buffer("successors", torch.arange(nodes)[:, None].expand(*shape, 2).clone())  # of a leaf: itself
        self.register_buffer("value", torch.zeros(shape, dtype=torch.float64))

    def fit(self, weights: Weights | Sequence[Weights], targets: Tensor) -> None:
        """Grows the trees; the draws, if any, depend on torch's generator.

        Args:
            weights: Networks to learn from.
            targets: What is to be answered: whole numbers (batch,), classes; else real numbers (batch, outputs).

        Raises:
            DataError: Where nothing can be learnt from the targets.
        """
        rows = self.statistics(weights).cpu().numpy()
        wanted = targets.detach().cpu()
        options: dict[str, Any] = {
            "n_estimators": self.estimators,
            "max_depth": self.depth,
            "learning_rate": self.lr,
            "subsample": self.subsample,
            "random_state": int(torch.randint(2**31 - 1, ())),
        }
        self._clear()
        if wanted.is_floating_point():
            self._fit_numbers(rows, wanted, options)
        else:
            self._fit_classes(rows, wanted, options)

    def _fit_numbers(self, rows: Any, wanted: Tensor, options: dict[str, Any]) -> None:
        from sklearn.ensemble import GradientBoostingRegressor

        if wanted.shape != (len(rows), len(self.constant)):
            raise DataError(f"trees with {len(self.constant)} outputs got targets of shape {tuple(wanted.shape)}")
        for output, column in enumerate(wanted.double().numpy().T):
            grown = GradientBoostingRegressor(**options).fit(rows, column)
            self.constant[output] = float(grown.init_.constant_.item())
            self._keep(output, grown.estimators_[:, 0])

    def _fit_classes(self, rows: Any, wanted: Tensor, options: dict[str, Any]) -> None:
        from sklearn.ensemble import GradientBoostingClassifier

        found, counts = wanted.unique(return_counts=True)
        if len(found) < 2:
            raise DataError("trees tell classes apart, but all training networks are of one class")
        if int(found.min()) < 0 or int(found.max()) >= len(self.constant):
            raise DataError(
                f"trees with {len(self.constant)} outputs got classes {int(found.min())} to {int(found.max())}"
            )
        grown = GradientBoostingClassifier(**options).fit(rows, wanted.numpy())
        self.constant.fill_(UNSEEN)
        if len(found) == 2:  # one score, the log-odds of the second class
            low, high = found.tolist()
            self.constant[low], self.constant[high] = 0.0, float((counts[1] / counts[0].double()).log())
            self._keep(high, grown.estimators_[:, 0])
            return
        for place, output in enumerate(found.tolist()):
            self.constant[output] = float((counts[place] / counts.sum().double()).log())
            self._keep(output, grown.estimators_[:, place])

    def _clear(self) -> None:
        """Makes every tree a leaf of value 0."""
        self.successors.copy_(torch.arange(self.successors.shape[2])[:, None])
        for buffer in (self.constant, self.feature, self.threshold, self.value):
            buffer.zero_()

    def _keep(self, output: int, trees: Any) -> None:
        """Puts scikit-learn's trees of an output into the tensors."""
        for number, one in enumerate(trees):
            tree, at = one.tree_, (output, number)
            count = tree.node_count
            inner = torch.from_numpy(tree.children_left >= 0)
            for side, children in enumerate((tree.children_left, tree.children_right)):
                kept = self.successors[at][:count, side]
                kept.copy_(torch.where(inner, torch.from_numpy(children), kept.cpu()))
            self.feature[at][:count] = torch.from_numpy(tree.feature).clamp(min=0).to(self.feature)
            self.threshold[at][:count] = torch.from_numpy(tree.threshold).to(self.threshold)
            self.value[at][:count] = self.lr * torch.from_numpy(tree.value[:, 0, 0]).to(self.value)

    def forward(self, weights: Weights | Sequence[Weights]) -> Tensor:
        """Each tree's leaf for each network, and the sum of their values."""
        return self.answer(self.statistics(given_networks(self, weights)))

    def answer(self, rows: Tensor) -> Tensor:
        """The same from statistics (batch, width)."""
        outputs, estimators, nodes = self.value.shape
        tree = torch.arange(outputs * estimators, device=rows.device) * nodes
        at = tree.expand(len(rows), -1)  # (batch, trees): the node in which each network is, among those of all trees
        feature, threshold = self.feature.flatten(), self.threshold.flatten()
        successors = self.successors.reshape(-1, 2)
        for _ in range(self.depth):
            right = rows.gather(1, feature[at]).double() > threshold[at]
            at = tree + successors[at].gather(2, right.long()[..., None])[..., 0]
        values = self.value.flatten()[at].view(len(rows), outputs, estimators).sum(dim=-1)
        return (self.constant + values).float()
