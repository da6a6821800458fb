"""The algebra of axes: what is known about the index sets of tensors, and how knowing more about one refines others."""

from __future__ import annotations
