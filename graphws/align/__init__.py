"""Alignment of different networks: one group element for each, so that equal neurons stand in equal places.

Two networks of one graph may compute nearly the same thing with their neurons in another order, with other signs,
scales or bases.  `align` finds the element of the graph's group that brings one to the other; `align_many` brings many
to one shared order.  Aligned networks can be averaged, compared entry by entry, or interpolated: `barrier` measures how
much worse the networks between two become than the two themselves.

A mean of networks with batch norm keeps averaged statistics, which are no network's: `compare` and `merge_many` measure
them anew over the data that they are given, and say so; `remeasure` does it by itself, and `repair` does the like for
layers without such norms.

>>> import torch
>>> from graphws.align import align
>>> from graphws.graph import Weights
>>> from graphws.operations import mlp_graph
>>> graph, rng = mlp_graph([3, 16, 16, 2], activation="tanh"), torch.Generator().manual_seed(0)
>>> first = Weights.unflatten(graph, torch.randn(1, graph.numel, generator=rng, dtype=torch.float64))
>>> second = graph.group().random(rng, actions="rich").act(first)
>>> found = align(first, second, generator=rng)
>>> torch.equal(found.aligned["W2"], first["W2"])
True
"""

from graphws.align.barrier import Barrier as Barrier
from graphws.align.barrier import Correction as Correction
from graphws.align.barrier import average as average
from graphws.align.barrier import barrier as barrier
from graphws.align.barrier import classification_loss as classification_loss
from graphws.align.barrier import function_loss as function_loss
from graphws.align.barrier import spread_loss as spread_loss
from graphws.align.candidates import Candidate as Candidate
from graphws.align.candidates import Objective as Objective
from graphws.align.candidates import halfway as halfway
from graphws.align.comparison import Comparison as Comparison
from graphws.align.comparison import compare as compare
from graphws.align.correction import Remeasured as Remeasured
from graphws.align.many import ManyAlignment as ManyAlignment
from graphws.align.many import align_many as align_many
from graphws.align.merging import Merging as Merging
from graphws.align.merging import merge_many as merge_many
from graphws.align.noise import noise_inputs as noise_inputs
from graphws.align.orthogonal import Refinement as Refinement
from graphws.align.orthogonal import StreamMatch as StreamMatch
from graphws.align.orthogonal import match_streams as match_streams
from graphws.align.orthogonal import refine as refine
from graphws.align.pairwise import Alignment as Alignment
from graphws.align.pairwise import align as align
from graphws.align.reference import Gathering as Gathering
from graphws.align.reference import Reference as Reference
from graphws.align.reference import find_reference as find_reference
from graphws.align.repair import repair as repair
from graphws.align.statistics import remeasure as remeasure
