from __future__ import annotations

from itertools import chain

import torch

from graphws.runtime.batches import GlobalBatches, batches
from graphws.runtime.environment import Processes, processes
from tests.runtime import standin


def _order(sampler: GlobalBatches) -> list[list[int]]:
    return [rows for rows, _ in sampler]


def test_an_epoch_sees_every_network_once_in_batches_of_almost_equal_size() -> None:
    rows = _order(GlobalBatches(103, 25, Processes(), seed=1))
    assert sorted(chain.from_iterable(rows)) == list(range(103))
    assert sorted({len(part) for part in rows}) == [20, 21]
    assert len(rows) == len(GlobalBatches(103, 25, Processes(), seed=1)) == 5


def test_order_depends_on_seed_and_epoch_alone() -> None:
    sampler, other = GlobalBatches(50, 10, Processes(), seed=1), GlobalBatches(50, 10, Processes(), seed=2)
    first = _order(sampler)
    assert first == _order(sampler) != _order(other)
    sampler.set_epoch(1)
    assert _order(sampler) != first


def test_without_a_seed_the_order_is_that_of_the_data() -> None:
    assert list(chain.from_iterable(_order(GlobalBatches(7, 3, Processes(), seed=None)))) == list(range(7))


def test_processes_share_the_batches_of_one() -> None:
    alone = list(GlobalBatches(45, 10, Processes(), seed=3))
    parts = [list(GlobalBatches(45, 10, Processes(rank, 2, 2), seed=3)) for rank in (0, 1)]
    for (whole, size), (left, left_size), (right, right_size) in zip(alone, *parts, strict=True):
        assert sorted(left + right) == sorted(whole)
        assert size == left_size == right_size == len(whole)


def test_shares_make_the_mean_over_processes_the_mean_over_the_global_batch() -> None:
    networks = standin.networks()
    losses = torch.arange(len(networks), dtype=torch.float64)
    whole = next(iter(batches(networks, 7, Processes(), seed=0)))
    halves = [next(iter(batches(networks, 7, Processes(rank, 2, 2), seed=0))) for rank in (0, 1)]
    mean = sum(losses[half.index].sum() * half.share for half in halves) / 2
    assert len(halves[0]) != len(halves[1])
    torch.testing.assert_close(mean, losses[whole.index].mean())
    torch.testing.assert_close(losses[whole.index].sum() * whole.share, losses[whole.index].mean())


def test_a_batch_holds_the_networks_of_its_index() -> None:
    networks = standin.networks()
    batch = next(iter(batches(networks, 16, Processes(), seed=5))).to("cpu")
    torch.testing.assert_close(batch.weights.flatten(), standin.data().collection.weights(batch.index).flatten())
    torch.testing.assert_close(batch.targets, networks.targets[batch.index])


def test_torchrun_announces_itself_by_the_environment() -> None:
    assert processes({}) == Processes(0, 1, 1)
    group = processes({"RANK": "5", "WORLD_SIZE": "8", "LOCAL_WORLD_SIZE": "4"})
    assert group == Processes(5, 8, 4)
    assert group.nodes == 2
    assert not group.first
