from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from graphws.actions.groups.naming import named_symmetry
from graphws.actions.groups.symmetry import DataSymmetry, close, is_identity
from graphws.actions.groups.symmetry_file import read_symmetry
from graphws.errors import UsageError
from graphws.graph import LinearMap, Monomial

PICTURE = (3, 4, 4)


def is_group_action(symmetry: DataSymmetry) -> bool:
    """Associativity, inverses and g·(h·x) = (gh)·x on inputs and outputs, from the table and by acting."""
    m, table = symmetry.order, symmetry.table
    x = torch.randn(5, symmetry.input[0].size, dtype=torch.float64)
    y = torch.randn(5, symmetry.output[0].size, dtype=torch.float64)
    for g in range(m):
        if int(table[g, symmetry.inverse(g)]) != 0 or int(table[0, g]) != g:
            return False
        for h in range(m):
            product = int(table[g, h])
            for act, data in ((symmetry.on_inputs, x), (symmetry.on_outputs, y)):
                if not torch.allclose(act(g, act(h, data)), act(product, data)):
                    return False
            if not all(int(table[product, k]) == int(table[g, table[h, k]]) for k in range(m)):
                return False
    return True


NAMED = {
    "mirror": ("mirror", PICTURE, 2),
    "flip": ("flip", (5, 3), 2),
    "transpose": ("transpose", PICTURE, 2),
    "half turns": ("rotations:2", (2, 3), 2),
    "quarter turns": ({"kind": "rotations", "order": 4}, PICTURE, 4),
    "dihedral": ("dihedral", PICTURE, 8),
    "translations": ("translations", (2, 3), 6),
    "translations by two": ("translations:2", (1, 4, 6), 6),
    "translations of columns": ({"kind": "translations", "step": [0, 3]}, (2, 8), 8),
    "channels": ({"kind": "channels", "permutation": [1, 2, 0]}, PICTURE, 3),
    "tokens": ({"kind": "tokens", "grid": [2, 3], "move": "mirror"}, (6, 4), 2),
    "turns of tokens": ({"kind": "tokens", "grid": [3, 3], "move": "rotations:4"}, (9, 2), 4),
    "shifts of tokens": (
        {"kind": "tokens", "grid": [2, 4], "move": {"kind": "translations", "step": [0, 2]}},
        (8, 1),
        2,
    ),
    "any tokens": ({"kind": "tokens", "generators": {"a": [1, 2, 0]}, "relations": ["a^3"]}, (3, 2), 3),
    "signed": ({"kind": "generated", "generators": {"a": {"places": [1, 0], "signs": [1, -1]}}}, (2,), 4),
    "S3": ({"kind": "generated", "generators": {"a": [1, 0, 2], "b": [1, 2, 0]}, "relations": ["a b a b"]}, (3,), 6),
    "matrix": ({"kind": "generated", "generators": {"a": [[0.0, 2.0], [0.5, 0.0]]}, "relations": ["a^2"]}, (2,), 2),
}


@pytest.mark.parametrize("name", NAMED)
def test_named_groups_are_group_actions(name: str) -> None:
    spec, shape, order = NAMED[name]
    for output in ("same", "invariant"):
        symmetry = named_symmetry(spec, shape, output, outputs=3)  # type: ignore[arg-type]
        assert symmetry.order == order
        assert is_group_action(symmetry)


def test_the_checker_of_group_actions_can_fail() -> None:
    symmetry = named_symmetry("rotations:4", PICTURE)
    object.__setattr__(symmetry, "output", tuple(reversed(symmetry.output)))
    assert not is_group_action(symmetry)


def test_what_is_built_by_hand_is_checked_too() -> None:
    """A wrong table, wrong maps, a first element that moves something, too few maps."""
    good = named_symmetry("rotations:4", PICTURE)
    turned = good.output[1:] + good.output[:1]
    swapped = (good.output[0], good.output[2], good.output[1], good.output[3])
    for table, output, said in (
        (good.table.mT.flip(0), good.output, "'1' does not act as the group's table says"),
        (good.table, swapped, "'r' does not act as the group's table says"),
        (good.table, turned, "its first element must be the identity"),
        (good.table, good.output[:3], "it needs a table and two maps for each of its 4 elements"),
    ):
        with pytest.raises(UsageError) as error:
            DataSymmetry("g", good.words, table, good.generators, good.input, output)
        assert str(error.value) == f"group 'g': {said}"
    assert DataSymmetry("g", good.words, good.table, good.generators, good.input, good.output).order == 4


def test_moves_do_what_they_are_called() -> None:
    x = torch.randn(2, *PICTURE, dtype=torch.float64)

    def moved(name: str, generator: str) -> Tensor:
        symmetry = named_symmetry(name, PICTURE)
        return symmetry.on_inputs(symmetry.generators[generator], x)

    assert torch.equal(moved("mirror", "m"), x.flip(3))
    assert torch.equal(moved("flip", "f"), x.flip(2))
    assert torch.equal(moved("rotations:4", "r"), x.rot90(1, (2, 3)))
    assert torch.equal(moved("transpose", "t"), x.transpose(2, 3))
    assert torch.equal(moved("translations", "right")[..., 1], x[..., 0])
    assert torch.equal(moved("translations", "down")[..., 1, :], x[..., 0, :])
    assert torch.equal(moved("translations:2", "down"), x.roll(2, 2))
    colours = named_symmetry({"kind": "channels", "permutation": [2, 1, 0]}, PICTURE)
    assert torch.equal(colours.on_inputs(1, x), x.flip(1))
    tokens = named_symmetry({"kind": "tokens", "grid": [2, 2], "move": "mirror"}, (4, 3))
    assert tokens.on_inputs(1, torch.arange(12.0).reshape(1, 4, 3))[0, :, 0].tolist() == [3, 0, 9, 6]


def test_outputs_may_carry_another_representation() -> None:
    smaller = named_symmetry("mirror", PICTURE, {"shape": [1, 2, 2]})
    y = torch.randn(3, 1, 2, 2)
    assert torch.equal(smaller.on_outputs(1, y), y.flip(3))
    fewer = named_symmetry({"kind": "tokens", "grid": [2, 3], "move": "mirror"}, (6, 4), {"shape": [6, 1]})
    assert fewer.on_outputs(1, torch.arange(6.0).unsqueeze(0)).tolist() == [[2, 1, 0, 5, 4, 3]]
    labels = named_symmetry({"kind": "channels", "permutation": [1, 2, 0]}, PICTURE, {"shape": [3, 1, 1]})
    assert labels.on_outputs(1, torch.arange(3.0).unsqueeze(0)).tolist() == [[1, 2, 0]]
    sign = named_symmetry("mirror", PICTURE, {"m": {"places": [0], "signs": [-1]}})
    assert is_group_action(sign)
    assert sign.on_outputs(1, torch.ones(1, 1)).item() == -1


def test_words_multiply_to_their_elements() -> None:
    symmetry = named_symmetry("dihedral", PICTURE)
    for element, word in enumerate(symmetry.words):
        product = 0
        for key in word.split() if word != "1" else []:
            product = int(symmetry.table[product, symmetry.generators[key]])
        assert product == element


SWAP, TURN = Monomial(torch.tensor([1, 0, 2])), Monomial(torch.tensor([1, 2, 0]))
BAD_CLOSE = [
    (({},), {}, "group 'g': give at least one generator"),
    (({"a": TURN},), {"relations": ["a^2"]}, "group 'g': relation 'a^2' does not hold on the inputs"),
    (
        ({"a": SWAP}, {"a": TURN}),
        {"relations": ["a^2"]},
        "group 'g': relation 'a^2' does not hold on the outputs",
    ),
    (({"a": SWAP},), {"relations": ["a*a"]}, "group 'g': relation 'a*a' is not a product like 'm^2' or 'm r m r'"),
    (
        ({"turn": SWAP},),
        {"relations": ["tun"]},
        "group 'g': relation 'tun' names no generator 'tun'; did you mean 'turn'?",
    ),
    (({"a": SWAP}, "invariant"), {}, "group 'g': an invariant output needs the number of outputs"),
    (
        ({"a": SWAP}, "invarient"),
        {"outputs": 3},
        "group 'g': output must be 'same', 'invariant' or a map for each generator, got 'invarient'; "
        "did you mean 'invariant'?",
    ),
    (({"a": SWAP}, {}), {}, "group 'g': no output map for generator 'a'"),
    (
        ({"turn": SWAP}, {"turn": SWAP, "trun": SWAP}),
        {},
        "group 'g': an output map for 'trun', which is no generator; did you mean 'turn'?",
    ),
    (
        ({"a": SWAP, "b": Monomial(torch.tensor([1, 0]))},),
        {},
        "group 'g': its generators act on spaces of different sizes, [(2, 2), (3, 3)]",
    ),
    (
        ({"a": LinearMap(torch.tensor([[1.0, 1.0], [0.0, 1.0]]).double())},),
        {},
        "group 'g': its generators give more than 192 elements, the most it may have",
    ),
    (({"a b": SWAP},), {}, "group 'g': a generator's name is a word like 'm' or 'turn', got 'a b'"),
    (({True: SWAP},), {}, "group 'g': a generator's name is a word like 'm' or 'turn', got True"),
    (({"a": LinearMap(torch.ones(2, 2).double())},), {}, "group 'g': generator 'a' is not invertible on the inputs"),
    (({"a": Monomial(torch.tensor([0, 0]))},), {}, "group 'g': generator 'a' is not invertible on the inputs"),
]


@pytest.mark.parametrize(("arguments", "options", "message"), BAD_CLOSE)
def test_what_is_no_group_is_refused(arguments: tuple, options: dict, message: str) -> None:  # type: ignore[type-arg]
    with pytest.raises(UsageError) as error:
        close("g", *arguments, **options)
    assert str(error.value) == message


KINDS = "mirror, flip, transpose, rotations, dihedral, translations, channels, tokens, generated"
BAD_NAMES = [
    ("mirorr", PICTURE, f"unknown group 'mirorr'; there are {KINDS}; did you mean 'mirror'?"),
    ({"kind": 3}, PICTURE, f"unknown group 3; there are {KINDS}"),
    ({"kind": "rotations", "oder": 4}, PICTURE, "group 'rotations' has no key 'oder'; did you mean 'order'?"),
    (
        "rotations:3",
        PICTURE,
        "rotations of order 3: only turns of order 2 and 4 map pixels to pixels; for others see graphws.actions.lie",
    ),
    (
        {"kind": "rotations", "order": "4"},
        PICTURE,
        "rotations of order '4': only turns of order 2 and 4 map pixels to pixels; for others see graphws.actions.lie",
    ),
    ({"order": 4}, PICTURE, f"a group needs a kind, one of {KINDS}; got the keys order"),
    ({"kind": "mirror", "order": 2}, PICTURE, "group 'mirror' has no key 'order'"),
    ("mirror:2", PICTURE, f"unknown group 'mirror:2'; there are {KINDS}; did you mean 'mirror'?"),
    (
        {"kind": "translations", "step": [1, 1, 1]},
        PICTURE,
        "group 'translations': a step is like 1 or [0, 2] (rows, columns), got [1, 1, 1]",
    ),
    (
        "translations:0",
        PICTURE,
        "group 'translations': a step is like 1 or [0, 2] (rows, columns), got [0, 0]",
    ),
    (
        "translations",
        (3, 14, 14),
        "pictures of 14 x 14 have 196 shifts by steps of [1, 1], more than 192: take larger steps, as translations:2, "
        "or one axis, {kind: translations, step: [0, 1]}",
    ),
    ("translations", (6,), "group 'translations' moves pictures: it needs a shape (…, height, width), got (6,)"),
    (
        {"kind": "generated", "generators": {"a": [1, 0]}, "relations": "a^2"},
        (2,),
        "relations are a list of words like [m^2, m r m r], got 'a^2'",
    ),
    (
        {"kind": "generated", "generators": {"a": [1, 0]}, "relations": [2]},
        (2,),
        "relations are a list of words like [m^2, m r m r], got [2]",
    ),
    ("dihedral", (2, 3), "group 'dihedral' needs square pictures, got 2 x 3"),
    ("mirror", (6,), "group 'mirror' moves pictures: it needs a shape (…, height, width), got (6,)"),
    ("mirror", (), "an input shape is like 3,14,14: positive numbers, got []"),
    (
        {"kind": "channels", "permutation": [0, 0, 1]},
        PICTURE,
        "[0, 0, 1] is no permutation of the 3 channels of shape (3, 4, 4)",
    ),
    ({"kind": "channels"}, PICTURE, "group 'channels': expected a list of whole numbers, got None"),
    ({"kind": "generated"}, (2,), "group 'generated' needs generators: a map for each name"),
    (
        {"kind": "generated", "generators": {"a": [1, 0]}},
        (3,),
        "generator 'a' acts on 2 numbers, an input (3,) has 3",
    ),
    (
        {"kind": "generated", "generators": {"a": "swap"}},
        (3,),
        "a map is a list of places, {places: [...], signs: [1, -1, ...]} or a square matrix",
    ),
    (
        {"kind": "tokens", "grid": [2, 2]},
        PICTURE,
        "group 'tokens' needs inputs of shape (tokens, features), got (3, 4, 4)",
    ),
    (
        {"kind": "tokens", "grid": [2, 2]},
        (6, 2),
        "group 'tokens': a grid [2, 2] does not have the 6 tokens of shape (6, 2)",
    ),
    (
        {"kind": "tokens", "grid": [2, 2], "move": "miror"},
        (4, 2),
        "group 'tokens': unknown move 'miror'; did you mean 'mirror'?",
    ),
    (
        {"kind": "tokens", "grid": [2, 2], "move": {"kind": "mirror", "stp": 1}},
        (4, 2),
        "group 'mirror' has no key 'stp'",
    ),
    (
        {"kind": "tokens", "grid": [-2, -2]},
        (4, 2),
        "group 'tokens': a grid [-2, -2] does not have the 4 tokens of shape (4, 2)",
    ),
    (
        {"kind": "tokens", "grid": [2, 2], "generators": {"a": [1, 0, 2, 3]}},
        (4, 2),
        "group 'tokens' has either generators, or a grid with a move",
    ),
    (
        {"kind": "tokens", "grid": [2, 2], "relations": ["m^2"]},
        (4, 2),
        "group 'tokens': a move has relations of its own; give generators to state others",
    ),
    (
        {"kind": "tokens", "generators": {"a": [0, 0, 1, 2]}},
        (4, 2),
        "group 'tokens': generator 'a' is no permutation of 4 tokens",
    ),
]


@pytest.mark.parametrize(("spec", "shape", "message"), BAD_NAMES)
def test_errors_of_names(spec: object, shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(UsageError) as error:
        named_symmetry(spec, shape)  # type: ignore[arg-type]
    assert str(error.value) == message


def test_inputs_of_the_wrong_size_are_refused() -> None:
    with pytest.raises(UsageError) as error:
        named_symmetry("mirror", (2, 3)).on_inputs(1, torch.zeros(4, 7))
    assert str(error.value) == "the group acts on 6 inputs of a point, got 7"
    with pytest.raises(UsageError) as error:
        named_symmetry({"kind": "generated", "generators": {"a": [1, 0]}}, (2,), {"shape": [1, 2, 2]})
    assert str(error.value) == "an output of another shape needs a group by name: generators say nothing about it"


def test_shapes_of_outputs_are_lists_of_numbers() -> None:
    with pytest.raises(UsageError) as error:
        named_symmetry("mirror", PICTURE, {"shape": 3})
    assert str(error.value) == "the shape of an output: expected a list of whole numbers, got 3"


def test_groups_are_read_from_yaml(tmp_path: Path) -> None:
    file = tmp_path / "group.yaml"
    file.write_text("kind: rotations\norder: 2\n")
    assert read_symmetry(str(file)) == {"kind": "rotations", "order": 2}
    assert read_symmetry("mirror") == "mirror"


BAD_FILES = [
    ("- mirror\n", "holds no mapping, write for example 'kind: mirror'"),
    ("kind: [\n", "cannot be read as YAML: while parsing a flow node"),
    (
        "!!python/object/apply:os.system ['true']\n",
        "line 1: tags are not read, '!!python/object/apply:os.system' is one",
    ),
    ("a: &x [1, 0]\nb: *x\n", "line 2: aliases are not read, write the values out"),
    ("kind: " + 9 * "[" + 9 * "]", "line 1: nested deeper than 8"),
    ("kind: " + 5000 * "[", "line 1: nested deeper than 8"),
    (None, "no such file"),
]


@pytest.mark.parametrize(("text", "said"), BAD_FILES)
def test_files_that_are_refused(tmp_path: Path, text: str | None, said: str) -> None:
    file = tmp_path / "group.yaml"
    if text is not None:
        file.write_text(text)
    with pytest.raises(UsageError) as error:
        read_symmetry(str(file))
    assert str(error.value) == f"{file}: {said}"


def test_a_file_too_large_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "group.yaml"
    file.write_text("kind: mirror\n")
    monkeypatch.setattr("graphws.actions.groups.symmetry_file.LARGEST", 12)
    with pytest.raises(UsageError) as error:
        read_symmetry(str(file))
    assert str(error.value) == f"{file}: larger than 12 bytes"


def test_an_identity_is_told_without_a_matrix():
    """Of pictures of 3 x 512 x 512 a matrix would take terabytes."""
    places = torch.arange(3 << 18)
    assert is_identity(Monomial(places))
    assert is_identity(Monomial(places, torch.ones(len(places))))
    assert not is_identity(Monomial(places.flip(0)))
    assert not is_identity(Monomial(places, -torch.ones(len(places))))
