"""What long runs of `scripts.trust fuzz` found, one case each, with what is right."""

from __future__ import annotations

import json
import struct
import warnings
import zipfile
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from graphws.actions.groups.naming import named_symmetry
from graphws.actions.groups.symmetry_file import read_symmetry
from graphws.checkpoints.conversion import Conversion
from graphws.checkpoints.example_inputs import example_inputs
from graphws.checkpoints.legacy import START
from graphws.checkpoints.state_dict import read_checkpoint
from graphws.converting import convert
from graphws.errors import DataError, GraphError, GraphwsError, RunError, UsageError, VerificationError, ZooError
from graphws.graph import NetworkGraph
from graphws.graph.summary import summary_table
from graphws.operations import mlp_graph
from graphws.reporter import Reporter
from graphws.runtime.folder import FORMAT as RUN_FORMAT
from graphws.runtime.folder import RunFolder
from graphws.runtime.job import _finished
from graphws.runtime.results import Results
from graphws.zoo import Zoo
from graphws.zoo.parquet_pages import column_chunks
from graphws.zoo.shards import read_shard
from graphws.zoo.sources.pictures import load_pictures
from graphws.zoo.table import read_table
from tests.fuzz import contents
from tests.zoo.test_store import make

pytest.importorskip("onnx")
pytest.importorskip("transformers")


def opened(file: Path, content: bytes) -> Callable[[], Conversion]:
    """Converts what is written; a folder where the file is a config."""
    file.write_bytes(content)
    return lambda: convert(file.parent if file.name == "config.json" else file)


def _onnx_error(tmp_path: Path, model: object) -> str:
    with pytest.raises(GraphwsError) as caught:
        opened(tmp_path / "net.onnx", model.SerializePartialToString())()  # type: ignore[attr-defined]
    return str(caught.value)


def test_found_an_attribute_without_a_type(tmp_path: Path) -> None:
    model = contents.onnx_models()["conv"]
    model.graph.node[0].attribute[0].ClearField("type")
    assert _onnx_error(tmp_path, model) == "ONNX model: attribute 'pads' of type 0 is not supported"


def test_found_names_that_are_no_text(tmp_path: Path) -> None:
    content = contents.onnx_models()["conv"].SerializeToString()
    assert content.count(b"BatchNormalization") == 1
    with pytest.raises(DataError, match=r"^ONNX model: the name b'BatchNormali\\xfaation' is not in UTF-8$"):
        opened(tmp_path / "net.onnx", content.replace(b"BatchNormalization", b"BatchNormali\xfaation"))()


def test_found_an_operator_whose_name_breaks_the_line(tmp_path: Path) -> None:
    model = contents.onnx_models()["conv"]
    model.graph.node[2].op_type = "a\nb"
    assert _onnx_error(tmp_path, model) == "ONNX model: no rule for operator a_b"


def test_found_a_loop_that_does_nothing_for_ages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_module("graphws_converters.onnx.ops.control"), "MOST_TURNS", 30)
    model = contents.onnx_models()["loop"]
    turns = next(tensor for tensor in model.graph.initializer if tensor.name == "turns")
    turns.raw_data = (2**40).to_bytes(8, "little")
    assert _onnx_error(tmp_path, model) == "ONNX node Loop 'last': a loop of more than 30 turns is not supported"


def test_found_a_network_that_gives_whole_numbers() -> None:
    class Class(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Linear(3, 8), nn.Linear(8, 5)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.last(torch.tanh(self.first(x))).argmax(-1)

    generator = torch.Generator().manual_seed(0)
    found = convert(Class(), torch.randn(200, 3, generator=generator), generator=generator)
    assert found.verification is not None, found.verdict
    assert found.verification.error == 0
    assert [space.size for space in found.graph.spaces if space.moves] == [8]


def test_found_a_network_that_is_no_function() -> None:
    class Noisy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.only = nn.Linear(3, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.only(x) + torch.rand(2)

    message = (
        r"^two runs on the same weights and inputs differ by \d\.\de[+-]\d\d: the network is not a function of them$"
    )
    with pytest.raises(VerificationError, match=message):
        convert(Noisy(), torch.randn(5, 3, generator=torch.Generator().manual_seed(0)))


def test_found_a_sequence_without_end(tmp_path: Path) -> None:
    model = contents.onnx_models()["lstm"]
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1 << 24
    message = "net.onnx: input 'x' of 67108864 numbers is large: give example inputs (--inputs)"
    assert _onnx_error(tmp_path, model) == message
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1 << 18
    message = "ONNX node LSTM 'h': a sequence of more than 10000 steps is not supported"
    assert _onnx_error(tmp_path, model) == message


def test_found_a_config_that_names_its_class_by_a_mapping(tmp_path: Path) -> None:
    config = {**contents.configs()["BertModel"], "architectures": [{"a": 1}]}
    with pytest.raises(DataError, match=r"config\.json: architecture \"\{'a': 1\}\" is no model of type 'bert' in tr"):
        opened(tmp_path / "config.json", json.dumps(config).encode())()


def test_found_pickles_of_an_old_protocol_and_odd_escapes(tmp_path: Path) -> None:
    state = dict(nn.Linear(2, 2).state_dict())
    torch.save(state, tmp_path / "net.pt", pickle_protocol=3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert list(read_checkpoint(tmp_path / "net.pt").state) == ["weight", "bias"]


def test_found_a_graph_with_a_name_that_fills_the_screen(tmp_path: Path) -> None:
    document = json.loads(mlp_graph([2, 3, 1]).to_json())
    document["spaces"][1]["x" * 3000] = 1
    with pytest.raises(GraphwsError) as caught:
        NetworkGraph.from_json(json.dumps(document))
    assert str(caught.value) == f"graph file, space 1: unknown field '{'x' * 96}..."


FOUND = Path(__file__).parent / "found"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("histogram_of_another_type", "Unencoded byte array data bytes does not support FLOAT"),
        ("histogram_of_another_length", "Definition level histogram size mismatch, size: 2, expected: 1"),
        ("index_outside_of_the_dictionary", "a row names a text that its dictionary does not have"),
    ],
)
def test_found_tables_that_end_the_process(name: str, reason: str) -> None:
    """Arrow ends the process (signal 6) where it is asked about columns whose statistics contradict their types."""
    file = FOUND / f"{name}.parquet"
    with pytest.raises(ZooError) as caught:
        read_table(file, 6)
    assert str(caught.value) == f"{file}: not a readable Parquet file: {reason}"


def test_found_metadata_of_tables_that_are_none() -> None:
    good = (FOUND / "index_outside_of_the_dictionary.parquet").read_bytes()
    chunks = column_chunks(good)
    assert [chunk.column for chunk in chunks] == [1, 2, 3, 4, 5]
    assert all(4 <= chunk.start < chunk.start + chunk.length <= len(good) for chunk in chunks)
    for footer, reason in (
        (b"", "a page's header is cut off"),
        (b"\x00", "its metadata are damaged"),
        (b"\x49\x19" + b"\x19" * 5000, "a page's header is nested too deep"),
        (b"\x49\x1c\x19\x1c\x00\x00\x00", "a column does not say where its pages lie"),
    ):
        content = b"PAR1" + footer + len(footer).to_bytes(4, "little") + b"PAR1"
        with pytest.raises(ValueError, match=f"^{reason}$"):
            column_chunks(content)
    for content in (b"", good[:-1], good[:-8] + b"\xff\xff\xff\x7fPAR1"):
        with pytest.raises(ValueError, match=r"^it does not end as a Parquet file does$"):
            column_chunks(content)


def test_found_a_shard_that_begins_at_infinity(tmp_path: Path) -> None:
    header = b'{"W": {"dtype": "F32", "shape": [1, 2], "data_offsets": [Infinity, 8]}}'
    (tmp_path / "s.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + bytes(8))
    with pytest.raises(ZooError, match=r"s\.safetensors: its header is damaged$"):
        read_shard(tmp_path / "s.safetensors", {"W": (1, 2)})


@pytest.mark.parametrize("tag", ["!!timestamp x", "!!bool x", "!!int ''", "!!python/name:os.system", "!a b"])
def test_found_tags_in_symmetries(tmp_path: Path, tag: str) -> None:
    (tmp_path / "g.yaml").write_text(f"kind: {tag}\n")
    with pytest.raises(UsageError, match=r"g\.yaml: line 1: tags are not read, '!"):
        read_symmetry(str(tmp_path / "g.yaml"))


def test_found_arrays_with_a_header_that_does_not_end(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros(3))
    content = (tmp_path / "x.npy").read_bytes()
    (tmp_path / "x.npy").write_bytes(content.replace(b"'shape': (3,)", b"'shape': ((3,"))
    with pytest.raises(DataError, match=r"x\.npy: not a file of arrays: "):
        example_inputs(str(tmp_path / "x.npy"), torch.Generator())


@pytest.mark.parametrize(
    "state",
    [{}, {"status": 1}, {"status": "complete", "zoo": 5, "zoo_sha256": ""}, {"status": "complete", "zoo": "x"}],
)
def test_found_runs_that_do_not_know_how_far_they_came(tmp_path: Path, state: dict[str, object]) -> None:
    (tmp_path / "run.json").write_text(json.dumps({"format": RUN_FORMAT, **state}))
    with pytest.raises(RunError, match=r"run\.json is damaged: "):
        RunFolder(tmp_path).state()


def test_found_json_of_runs_that_is_nested_too_deep(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("[" * 100_000)
    with pytest.raises(RunError, match=r"run\.json cannot be read: "):
        RunFolder(tmp_path).state()


SCORE = {
    "name": "a", "parameters": 1, "lr": 0.1, "seeds": [0], "validation": [{}], "test": [{"accuracy": 1.0}],
    "seconds": 1.0, "chosen": 0,
}  # fmt: skip
RESULTS = {"metric": {"name": "accuracy", "higher_is_better": True}, "scores": [SCORE], "networks": {"test": 1}}


@pytest.mark.parametrize(
    "changes",
    [
        {"scores": []}, {"scores": [{**SCORE, "seeds": []}]}, {"scores": [{**SCORE, "test": [{"r2": 1.0}]}]},
        {"scores": [{**SCORE, "lr": "fast"}]}, {"networks": {}}, {"metric": None},
    ],
)  # fmt: skip
def test_found_results_that_cannot_be_shown(tmp_path: Path, changes: dict[str, object]) -> None:
    assert Results.from_json(RESULTS).sentence() == "Test accuracy on 1 unseen networks: a reaches 100.0 %."
    with pytest.raises(ValueError, match=r"validation error|need"):
        Results.from_json({**RESULTS, **changes})
    (tmp_path / "results.json").write_text(json.dumps({**RESULTS, **changes}))
    assert _finished(RunFolder(tmp_path), Reporter()) is None


def test_found_truth_values_as_sizes(tmp_path: Path) -> None:
    """True is 1 in Python, and no size of a tensor."""
    torch.save({"w": torch.ones(1)}, tmp_path / "net.pt", _use_new_zipfile_serialization=False)
    content = (tmp_path / "net.pt").read_bytes()
    sizes = b"K\x00K\x01\x85"  # the offset, and a tuple of one size
    assert content.count(sizes) == 1
    for wrong in (b"\x89K\x01\x85", b"K\x00\x88\x85"):
        (tmp_path / "net.pt").write_bytes(content.replace(sizes, wrong))
        with pytest.raises(DataError, match=r"a tensor has an impossible shape; save model\.state_dict\(\) alone$"):
            read_checkpoint(tmp_path / "net.pt")


def test_found_a_pickle_of_many_steps_before_the_one_that_is_read(tmp_path: Path) -> None:
    (tmp_path / "net.pt").write_bytes(START + b"\x80\x02" + b"N0" * 1_000_000 + b"N.")
    with pytest.raises(DataError, match=r"it takes more than 1500000 steps, far more than its tensors need"):
        read_checkpoint(tmp_path / "net.pt")


@pytest.mark.parametrize(
    "changes",
    [
        {"summary": {"psnr": "x"}}, {"summary": [1]}, {"signal": {}},
        {"signal": {"shape": [8], "peak": 1, "classes": 5}},
        {"signal": {"shape": [8, -1], "peak": 1.0, "classes": []}},
        {"signal": {"shape": [8], "peak": 0, "classes": []}},
    ],
)  # fmt: skip
def test_found_provenance_that_reports_cannot_show(tmp_path: Path, changes: dict[str, object]) -> None:
    path = make(tmp_path / "zoo").path / "zoo.json"
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps({**manifest, "provenance": {**manifest["provenance"], **changes}}))
    with pytest.raises(ZooError, match=r"zoo\.json: damaged: "):
        Zoo.open(path.parent)


def _graph(spaces: int = 1, **parameter: object) -> str:
    named = [{"name": f"s{k}", "size": 2, "kind": "set"} for k in range(spaces)]
    made = {"name": "p", "axes": "s0", "kind": "weight", **parameter}
    return json.dumps({"graphws_graph": 2, "spaces": named, "parameters": [made], "operations": []})


def test_found_orbits_that_are_too_many_to_count() -> None:
    with pytest.raises(GraphError, match=r"^parameter 'p': its orbits are too many to be counted \(1e\+12 patterns\)$"):
        summary_table(NetworkGraph.from_json(_graph(axes=" ".join(["s0"] * 40))))
    assert summary_table(NetworkGraph.from_json(_graph(axes="s0 s0 s0"))).orbits == 4


def test_found_parameters_of_many_axes_and_many_blocks() -> None:
    with pytest.raises(GraphError, match=r"^parameter 'p': 65 axes, at most 64 are allowed$"):
        NetworkGraph.from_json(_graph(axes=" ".join(["s0"] * 65)))
    with pytest.raises(GraphError, match=r"^storage 'k': 65 axes, at most 64 are allowed$"):
        NetworkGraph.from_json(_graph(storage={"key": "k", "shape": [1] * 65}))
    blocks = [
        {"name": f"p{t}.{k}", "axes": "s0", "storage": {"key": f"t{t}", "shape": [2000], "block": [[2 * k, 2 * k + 2]]}}
        for t in range(5)
        for k in range(1000)
    ]
    document = {**json.loads(_graph()), "parameters": [{**block, "kind": "weight"} for block in blocks]}
    with pytest.raises(GraphError, match=r"^too many parameters share stored tensors: more than 4194304 pairs"):
        NetworkGraph.from_json(json.dumps(document))


@pytest.mark.parametrize(
    ("mapping", "output"),
    [
        ({"kind": "translations", "step": 10**30}, "same"),
        ({"kind": "translations", "step": [0, 2**62]}, "same"),
        ({"kind": "generated", "generators": {"a": [[10**400]]}}, "same"),
        ("mirror", {"shape": [1 << 20, 1 << 20]}),
        ("mirror", {"shape": [0, 2]}),
    ],
)
def test_found_numbers_of_symmetries_that_no_tensor_holds(mapping: str | dict[str, object], output: object) -> None:
    with pytest.raises(UsageError, match=r"beyond 2\^24|^a map is a list of places|at most 2\^24 places"):
        named_symmetry(mapping, (2, 2), output)  # type: ignore[arg-type]


def test_found_metrics_whose_squares_are_too_large() -> None:
    score = {**SCORE, "seeds": [0, 1], "validation": [{}, {}], "test": [{"accuracy": 1e300}, {"accuracy": -1e300}]}
    assert "±" in Results.from_json({**RESULTS, "scores": [score]}).sentence()


@pytest.mark.parametrize("name", ["", "0" * 300, "../other", "..", "a\nb"])
def test_found_names_of_models_that_are_no_files(name: str) -> None:
    with pytest.raises(ValueError, match="the name of a score is none of a model"):
        Results.from_json({**RESULTS, "scores": [{**SCORE, "name": name}]})


def test_found_a_member_of_an_archive_without_a_name(tmp_path: Path) -> None:
    file = tmp_path / "pictures.zip"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a", b"")
    content = bytearray(file.read_bytes())
    for mark, at in ((b"PK\x03\x04", 26), (b"PK\x01\x02", 28)):  # the name's byte becomes one of the extra field
        place = content.index(mark) + at
        content[place : place + 4] = struct.pack("<HH", 0, 1)
    file.write_bytes(content)
    with pytest.raises(GraphwsError):
        load_pictures(path=file)


def test_found_headers_of_arrays_that_make_python_warn(tmp_path: Path) -> None:
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (2,), '\\\x10': 1}"
    header += b" " * (117 - len(header)) + b"\n"
    (tmp_path / "in.npy").write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(8))
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        with pytest.raises(DataError, match=r"^\S+in\.npy: not a file of arrays: "):
            example_inputs(str(tmp_path / "in.npy"), torch.Generator())
    assert not heard
