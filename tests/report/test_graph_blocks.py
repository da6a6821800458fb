from __future__ import annotations

import pytest

from graphws.graph import NetworkGraph, Parameter, Space
from graphws.operations import mlp_graph
from graphws.report.graph.blocks import Block, blocks
from graphws.report.graph.links import flow_order, links, module_path
from graphws.report.graph.page_data import WIDEST, page_data, shown_names
from graphws.report.graph.scene import Scene
from tests.graph import samples
from tests.report.graph_samples import convolutions, transformer

GRAPHS = {
    "transformer": transformer(),
    "convolutions": convolutions(),
    "mlp": mlp_graph([2, 8, 8, 1]),
    "heads": samples.heads(),
    "empty": NetworkGraph((), ()),
}


@pytest.mark.parametrize("name", GRAPHS)
def test_every_parameter_is_in_one_link_and_every_link_in_one_block(name: str) -> None:
    graph = GRAPHS[name]
    made = blocks(graph)
    held = [parameter for link in made.links for parameter in link.parameters]
    assert sorted(held) == sorted(p.name for p in graph.parameters)
    assert sorted(k for block in made.root.walk() for k in block.links) == list(range(len(made.links)))
    families = {s.name for s in graph.spaces if s.parent is None} - set(made.taps)
    items = [item for block in made.root.walk() for column in block.columns for item in column]
    railed = [space for block in made.root.walk() for space in block.rails]
    assert sorted([item[6:] for item in items if item.startswith("space:")] + railed) == sorted(families)


def test_the_residual_stream_is_a_rail_and_a_layer_shows_its_steps_in_order() -> None:
    made = blocks(transformer())
    root = made.root
    assert root.rails == {"wte": 0}
    first = root.blocks["model.h.0"]
    labels = [[made.links[int(i[5:])].label if i.startswith("link:") else i for i in c] for c in first.columns]
    assert labels == [["ln_1"], ["block:model.h.0.attn"], ["ln_2"], ["block:model.h.0.mlp"]]
    assert first.blocks["model.h.0.attn"].columns == [["space:model.h.0.attn.q/heads"]]


def test_equal_layers_are_stacked_behind_the_first_and_unequal_ones_are_not() -> None:
    root = blocks(transformer(6)).root
    assert [(b.label, b.stack) for b in root.blocks.values()] == [("h.0", False), ("h.1 … 5", True)]
    stack = root.blocks["model.h.1 … model.h.5"]
    assert list(stack.blocks) == [f"model.h.{k}" for k in range(1, 6)]
    assert not any(b.stack for b in blocks(transformer(2)).root.walk())
    graph = transformer(4)
    wider = tuple(Space("model.h.2.mlp.up", 128) if s.name == "model.h.2.mlp.up" else s for s in graph.spaces)
    assert not any(b.stack for b in blocks(NetworkGraph(wider, graph.parameters)).root.walk())


def test_links_follow_the_values() -> None:
    found = {".".join((*link.container, link.label)): link for link in links(transformer(1))}
    assert (found["model.wte"].reads, found["model.wte"].writes) == (("tokens",), ("wte",))
    assert found["model.h.0.attn.k"].writes == ("model.h.0.attn.q/head",), "keys are written, though upside down"
    assert found["model.h.0.attn.v"].parameters == ("model.h.0.attn.v.weight", "model.h.0.attn.v.bias")
    assert (found["model.h.0.attn.o"].reads, found["model.h.0.attn.o"].writes) == (("model.h.0.attn.v/head",), ("wte",))
    assert found["model.head"].writes == ("classes",)


def test_taps_join_nothing_and_a_count_of_batches_stays_with_its_norm() -> None:
    found = {".".join((*link.container, link.label)): link for link in links(convolutions())}
    assert found["net.0"].taps == ("k3", "k3")
    assert (found["net.2"].reads, found["net.2"].writes) == (("c1",), ("c2",))
    assert found["net.1"].parameters == ("net.1.weight", "net.1.running_mean", "net.1.num_batches_tracked")
    assert found["temperature"].spaces == ()
    assert found["loop"].loops


def test_parameters_stand_in_the_order_of_the_operations() -> None:
    graph = mlp_graph([2, 3, 1])
    turned = NetworkGraph(graph.spaces, graph.parameters[::-1], graph.operations, graph.inputs, graph.outputs)
    assert [p.name for p in flow_order(turned)] == ["b1", "W1", "b2", "W2"]
    assert [p.name for p in flow_order(NetworkGraph(graph.spaces, graph.parameters[::-1]))] == ["b2", "W2", "b1", "W1"]


def test_names_are_as_long_as_it_takes_to_tell_them_apart() -> None:
    assert module_path("h.0.attn.c_attn.weight[1][2]") == (("h", "0", "attn"), "c_attn", "1,2")
    assert module_path("...") == (("", "", ""), "", "")
    assert shown_names(["a.q/head", "a.v/head", "b.up", "c.1"]) == ["q/head", "v/head", "up", "c.1"]
    assert shown_names(["same", "same"]) == ["same", "same"]


def test_a_circle_of_spaces_is_drawn_all_the_same() -> None:
    spaces = (Space("a", 2), Space("b", 2), Space("c", 2))
    parameters = tuple(Parameter(f"w{x}{y}", f"{y} {x}*") for x, y in ("ab", "bc", "ca"))  # type: ignore[arg-type]
    assert blocks(NetworkGraph(spaces, parameters)).root.columns


@pytest.mark.parametrize("name", GRAPHS)
def test_the_same_graph_gives_the_same_data_with_the_right_counts(name: str) -> None:
    graph = GRAPHS[name]
    data = page_data(graph)
    assert data == page_data(
        NetworkGraph(graph.spaces, graph.parameters, graph.operations, graph.inputs, graph.outputs)
    )
    root = data["blocks"][0]
    assert root["tensors"] == len(graph.parameters)
    assert root["numel"] == graph.numel
    for row in data["blocks"][1:]:
        assert row["parent"] < data["blocks"].index(row)
    from graphws.graph.summary import summary_table

    assert [row["orbits"] for row in data["params"]] == [row.orbits for row in summary_table(graph).parameters]


def _open(data: dict[str, object], numbers: set[int]) -> Scene:
    return Scene({**data, "open": sorted(numbers)})


@pytest.mark.parametrize("name", GRAPHS)
def test_nothing_overlaps_whatever_is_open(name: str) -> None:
    data = page_data(GRAPHS[name])
    for opened in ({0}, set(data["open"]), set(range(len(data["blocks"])))):
        scene = _open(data, opened)
        placed = list(scene.boxes.values())
        for k, box in enumerate(placed):
            for other in placed[:k]:
                apart = (
                    abs(box.x - other.x) - (box.width + other.width) / 2,
                    abs(box.y - other.y) - (box.height + other.height) / 2,
                )
                assert max(apart) > 2, (box.anchor, other.anchor)
        for rail in scene.rails.values():
            assert all(box.y - box.height / 2 > rail.y + 4 for box in placed if rail.left < box.x < rail.right)


def test_folding_hides_what_is_inside_and_bundles_its_links() -> None:
    data = page_data(transformer())
    number = {block["path"]: k for k, block in enumerate(data["blocks"])}
    folded = _open(data, {0})
    assert set(folded.boxes) == {
        "d0",
        f"d{len(data['spaces']) - 1}",
        *(f"c{number[p]}" for p in ("model.h.0", "model.h.1 … model.h.5")),
    }
    card = f"c{number['model.h.0']}"
    ends = [(edge.reads, edge.writes) for edge in folded.edges if card in edge.ends]
    assert sorted(map(str, ends)) == sorted(map(str, [(["r1"], [card]), ([card], ["r1"])]))
    unfolded = _open(data, set(range(len(data["blocks"]))))
    assert sum(anchor[0] == "d" for anchor in unfolded.boxes) == len(data["spaces"]) - 1
    assert not any(anchor[0] == "c" for anchor in unfolded.boxes)


def test_a_deep_network_opens_small_and_fast() -> None:
    import time

    graph = transformer(150)
    start = time.process_time()
    data = page_data(graph)
    assert time.process_time() - start < 5
    assert len(data["spaces"]) == 603
    assert Scene(data).width < WIDEST
    assert isinstance(blocks(graph).root, Block)
