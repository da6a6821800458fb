"""Plans: which basis maps share a product, and what messages leave out."""

from __future__ import annotations

import pytest

from graphws.errors import GraphError
from graphws.graph import NetworkGraph, Parameter, Space
from graphws.layers.plan import level, plan_by_name, plan_by_role, role, role_table, sharing
from graphws.messages import FAMILIES, Message, Via, expand_blocks
from graphws.operations import mlp_graph
from tests.layers.cases import GRAPHS, head_pairs, residual

DEEP = mlp_graph([2, 4, 4, 4, 3])
FULL = expand_blocks(pool="mean")


def test_the_full_layer_has_one_product_a_key() -> None:
    for depth in (2, 3, 6):
        plan = plan_by_name(mlp_graph([2, *[4] * (depth - 1), 1]), FULL)
        keys = [product.key for product in plan.products]
        assert len(keys) == len(set(keys)) == 1 + (depth - 1) + max(depth - 2, 0)
        assert len({product.matrix for product in plan.products}) == len(keys)


@pytest.mark.parametrize("name", GRAPHS)
def test_every_pair_is_in_one_product(name: str) -> None:
    plan = plan_by_name(GRAPHS[name], FULL)
    assert len(plan.pairs) == len(set(plan.pairs))
    for pair in plan.pairs:
        assert pair.source.slot.key == pair.target.key


@pytest.mark.parametrize(("via", "levels"), [("edge", 2), ("neuron", 1), ("network", 0)])
def test_a_message_switches_on_one_level(via: Via, levels: int) -> None:
    plan = plan_by_name(DEEP, [Message(via=via, pool="mean")])
    assert {level(product.key) for product in plan.products} == {via}
    assert {len(product.key) for product in plan.products} == {levels}


def test_levels_count_roots_so_a_head_and_its_dimension_are_one_neuron() -> None:
    assert {(len(p.key), level(p.key)) for p in plan_by_name(head_pairs(), FULL).products} >= {
        (0, "network"),
        (1, "neuron"),
        (2, "neuron"),
        (4, "edge"),
    }


def test_families_leave_out_what_they_say() -> None:
    for family in FAMILIES:
        source, target = family.split("_to_")
        plan = plan_by_name(DEEP, expand_blocks({family: "none"}))
        full = plan_by_name(DEEP, FULL)
        for u in DEEP.parameters:
            for t in DEEP.parameters:
                off = (u.kind, t.kind) == (source, target)
                assert plan.count(u.name, t.name) == (0 if off else full.count(u.name, t.name))


def test_diagonal_leaves_pairs_that_share_a_space() -> None:
    plan = plan_by_name(DEEP, expand_blocks(dict.fromkeys(FAMILIES, "diagonal")))
    full = plan_by_name(DEEP, FULL)
    for u in DEEP.parameters:
        for t in DEEP.parameters:
            kept = sharing(DEEP, u.name, t.name)
            assert plan.count(u.name, t.name) == (full.count(u.name, t.name) if kept else 0)
    assert plan.count("W1", "W2") == 4
    assert plan.count("W1", "W3") == plan.count("b4", "b4") == 0


def test_two_poolings_count_twice_where_something_is_pooled() -> None:
    both = [Message(pool="max"), Message(pool="mean")]
    plan = plan_by_name(mlp_graph([2, 4, 4, 1]), both)
    assert plan.count("b1", "b1") == 1, "nothing is pooled between a bias and its own neurons"
    assert plan.count("W2", "b1") == 2


def test_messages_may_repeat_each_other() -> None:
    assert plan_by_name(DEEP, [*FULL, *FULL]) == plan_by_name(DEEP, FULL)


@pytest.mark.parametrize("via", ["edge", "neuron", "network"])
def test_a_message_arrives_in_small_spaces_too(via: Via) -> None:
    """With one element a space all levels say the same, so the full layer keeps one of them; a lone message stays."""
    for network in (residual(1), mlp_graph([2, 1, 1, 2])):
        weight = "A" if len(network.spaces) == 2 else "W2"
        assert plan_by_name(network, [Message(via=via)]).count(weight, weight) >= 1


def test_no_messages_no_products() -> None:
    assert plan_by_name(DEEP, []).products == ()


def test_roles_share_matrices_across_depth() -> None:
    table = role_table([DEEP], FULL)
    plan = plan_by_role(DEEP, FULL, table)
    by_name = plan_by_name(DEEP, FULL)
    assert len({p.matrix for p in plan.products}) < len({p.matrix for p in by_name.products})
    assert set(plan.pairs) == set(by_name.pairs)


def test_a_role_goes_by_the_name_where_there_is_none() -> None:
    assert role(residual(), "A") == "A"
    assert role(DEEP, "W2") == role(DEEP, "W3") == "weight.hidden"


def test_one_role_cannot_have_two_sizes() -> None:
    with pytest.raises(GraphError) as caught:
        role_table([mlp_graph([2, 4, 1]), mlp_graph([3, 4, 1])], FULL)
    assert str(caught.value) == (
        "role 'weight.first' has 2 and 3 free entries in different places; reduce its free axes to one size before "
        "weights are shared by role"
    )


def test_sharing_pairs_via_the_network_need_names() -> None:
    with pytest.raises(GraphError) as caught:
        role_table([DEEP], [Message(via="network", pairs="sharing")])
    assert str(caught.value) == (
        "weights shared by role cannot keep to sharing pairs via the network, where all layers of a role look alike; "
        "use 'full' or 'none' blocks, or write messages via edge and neuron"
    )


def test_a_graph_whose_roles_meet_otherwise_is_refused() -> None:
    def chain(*roles: str) -> NetworkGraph:
        """Spaces of these roles, with a weight between neighbours."""
        spaces = [Space(f"s{k}", 3, role=name) for k, name in enumerate(roles)]
        pairs = [Parameter(f"W{k}", f"s{k + 1} s{k}", role="w") for k in range(len(roles) - 1)]
        return NetworkGraph(tuple(spaces), tuple(pairs))

    table = role_table([chain("a", "b")], FULL)
    with pytest.raises(GraphError) as caught:
        plan_by_role(chain("a", "c"), FULL, table)
    assert str(caught.value) == (
        "parameter 'W0' of role 'w' meets other roles than in the networks that this model was built for; "
        "build it for such a network too"
    )


def test_a_graph_with_unknown_roles_is_refused() -> None:
    table = role_table([mlp_graph([2, 4, 1])], FULL)
    with pytest.raises(GraphError) as caught:
        plan_by_role(mlp_graph([2, 4, 4, 1]), FULL, table)
    assert str(caught.value) == (
        "parameter 'W2' has the role 'weight.hidden', which this model was not built for; it knows bias.hidden, "
        "bias.last, weight.first, weight.last; did you mean 'bias.hidden'?"
    )
