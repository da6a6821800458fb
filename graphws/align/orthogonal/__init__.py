"""Alignment of networks with normed residual streams: orthogonal maps of streams, heads by what they compute.

The permutations of a transformer's neurons are the small part of its group.  In the RMS form of
`graphws.operations.rms_form` the stream may be moved by any orthogonal map; inside heads queries and keys may be moved
by any invertible matrix, values and outputs by another.  `match_streams` searches that group, from weights alone;
`refine` goes on from there by gradient, so that the network halfway between both has a small loss on given data.
"""

from graphws.align.orthogonal.heads import head_products as head_products
from graphws.align.orthogonal.heads import head_worth as head_worth
from graphws.align.orthogonal.matching import StreamMatch as StreamMatch
from graphws.align.orthogonal.matching import has_streams as has_streams
from graphws.align.orthogonal.matching import match_streams as match_streams
from graphws.align.orthogonal.refinement import Refinement as Refinement
from graphws.align.orthogonal.refinement import refine as refine
