"""Scores for matching: how well the elements of a space of one network answer to those of another.

Aligning two networks, and finding how a symmetry of the data acts inside one, are the same problem.  Wanted is a group
element k that carries one network's weights as close as possible to another's (or to its own, once inputs and outputs
have been moved).  The closeness Σ_p <A_p, (k·B)_p> over all parameters p is linear in the map of any one space while
the others are held, so space by space it is an assignment problem.  This package knows how to

* score a space: `family_scores`, for any tensor with labelled axes;
* solve for its map: `assign_family`, for permutations, signs, nested sets and linear actions;
* see every parameter of a converted network as tensors that can be scored: `matching_view`;
* remove scales and bases that would blur the scores: `matching_gauge`;
* do all of it for two networks: `match`.

>>> import torch
>>> from graphws.graph import Weights
>>> from graphws.operations import mlp_graph
>>> from graphws.matching import match
>>> graph, rng = mlp_graph([3, 8, 8, 2], activation="tanh"), torch.Generator().manual_seed(0)
>>> first = Weights.unflatten(graph, torch.randn(1, graph.numel, generator=rng, dtype=torch.float64))
>>> hidden = graph.group().random(rng, actions="rich")
>>> found = match(hidden.act(first), first)
>>> torch.equal(found.maps["hidden1"].perm, hidden.maps["hidden1"].perm)
True
"""

from graphws.matching.assignment import assign_family as assign_family
from graphws.matching.assignment import best_monomial as best_monomial
from graphws.matching.family import Family as Family
from graphws.matching.family import families as families
from graphws.matching.family import solving_order as solving_order
from graphws.matching.linear import nearest_orthogonal as nearest_orthogonal
from graphws.matching.linear import two_sided_least_squares as two_sided_least_squares
from graphws.matching.match import descend as descend
from graphws.matching.match import match as match
from graphws.matching.match import match_forward as match_forward
from graphws.matching.metric import Metric as Metric
from graphws.matching.metric import agreement as agreement
from graphws.matching.metric import balanced_metric as balanced_metric
from graphws.matching.scored_parameters import matching_view as matching_view
from graphws.matching.scores import Score as Score
from graphws.matching.scores import family_scores as family_scores
from graphws.matching.scores import score as score
from graphws.matching.unit_gauge import matching_gauge as matching_gauge
