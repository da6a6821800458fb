"""What a model sees of a batch."""

from __future__ import annotations

import pytest
import torch

from graphws.graph import Weights
from graphws.runtime.batches import Batch
from graphws.runtime.learner import Learner, Optimisation
from graphws.tasks import Classification
from tests.runtime import standin


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_networks_of_any_floating_type_are_read_in_the_models(dtype: torch.dtype) -> None:
    weights = standin.data().collection.draw(torch.arange(6))[0]
    assert isinstance(weights, Weights)
    learner = Learner(standin.Reader(), Classification(3), Optimisation(), 1, standin.jitter, lambda each: each)
    answers = []
    for one in (weights.to(dtype=dtype), weights.to(dtype=dtype).to(dtype=torch.float32)):
        batch = Batch(one, torch.zeros(6, dtype=torch.long), torch.arange(6), 1.0)
        generator = torch.Generator().manual_seed(0)
        answers.append(learner.answer(batch, generator, augment=True)[0])
    assert answers[0].dtype == torch.float32
    assert torch.equal(*answers)
