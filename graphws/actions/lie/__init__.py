"""Continuous groups: how fast a network leaves equivariance, end to end and layer by layer.

>>> import torch
>>> from graphws.actions.lie import lie_derivative
>>> mean = lambda x: x.mean((1, 2, 3)).unsqueeze(1)                    # knows nothing of places
>>> pictures = torch.randn(20, 1, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
>>> lie_derivative(mean, "translation-x", (1, 8, 8), "invariant", data=pictures).end_to_end < 1e-12
True
"""

from graphws.actions.lie.derivative import LayerDerivative as LayerDerivative
from graphws.actions.lie.derivative import LieFigures as LieFigures
from graphws.actions.lie.derivative import lie_derivative as lie_derivative
from graphws.actions.lie.generators import GENERATORS as GENERATORS
from graphws.actions.lie.generators import Generator as Generator
from graphws.actions.lie.generators import channel_mixing as channel_mixing
from graphws.actions.lie.generators import matrix_generator as matrix_generator
from graphws.actions.lie.generators import named_generator as named_generator
