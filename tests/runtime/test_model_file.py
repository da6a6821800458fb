from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from graphws.errors import RunError
from graphws.runtime.model_file import load_state, read_model, save_model
from tests.runtime.standin import Reader


@pytest.fixture
def path(tmp_path: Path) -> Path:
    place = tmp_path / "model.safetensors"
    save_model(place, Reader().state_dict(), {"kind": "reader", "width": 16})
    return place


def test_round_trip_bit_for_bit(path: Path) -> None:
    model = Reader()
    save_model(path, model.state_dict(), {"kind": "reader"})
    state, description = read_model(path)
    other = Reader()
    load_state(other, state, path)
    assert description == {"kind": "reader"}
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), other.state_dict().values(), strict=True))


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(RunError) as caught:
        read_model(tmp_path / "nothing.safetensors")
    assert str(caught.value) == f"no checkpoint at {tmp_path / 'nothing.safetensors'}"


def test_a_truncated_file_is_refused(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(RunError, match=r"the checkpoint .* is damaged: .*; train again"):
        read_model(path)


def test_a_safetensors_file_of_somebody_else_is_refused(tmp_path: Path) -> None:
    save_file({"x": torch.zeros(1)}, tmp_path / "x.safetensors")
    with pytest.raises(RunError) as caught:
        read_model(tmp_path / "x.safetensors")
    assert str(caught.value) == f"{tmp_path / 'x.safetensors'} is not a graphws checkpoint: its format is None"


def test_another_width_is_refused_by_name(path: Path) -> None:
    state, _ = read_model(path)
    with pytest.raises(RunError) as caught:
        load_state(Reader(width=8), state, path)
    assert str(caught.value) == (
        f"the checkpoint {path} is of another architecture: 'net.0.weight' has shape (16, 17), the model needs (8, 17)"
    )


def test_missing_and_left_over_tensors_are_refused_by_name(path: Path) -> None:
    state, _ = read_model(path)
    with pytest.raises(RunError) as caught:
        load_state(Reader(), {k: v for k, v in state.items() if k != "net.3.bias"}, path)
    assert str(caught.value) == f"the checkpoint {path} is of another architecture: it has no 'net.3.bias'"
    with pytest.raises(RunError) as caught:
        load_state(Reader(), {**state, "extra": torch.zeros(1)}, path)
    assert str(caught.value) == f"the checkpoint {path} is of another architecture: the model has no 'extra'"
