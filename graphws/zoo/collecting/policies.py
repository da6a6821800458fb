"""Policies: Stable-Baselines3's zips, and estool's JSON files.

* Stable-Baselines3 (Raffin et al. 2021): ``NAME.zip`` with the policy's state dict in the member ``policy.pth``;
  nothing else of the archive is unpacked.  Of an actor-critic policy of linear layers the module is known by its keys.
* estool (Ha 2017): ``NAME.json``, a list whose first entry is the list of all numbers: of each layer the weight, rows
  for inputs, then the bias.  ``--like`` says what they are.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from graphws.checkpoints.zip_members import zip_members
from graphws.errors import DataError, ZooError
from graphws.zoo.collecting.entry import AtPath, Collected, Entry, Reading
from graphws.zoo.collecting.folders import files_in, json_document, name_of
from graphws.zoo.collecting.layout import Choices, Layout
from graphws.zoo.collecting.sources import Member

POLICY = "policy.pth"
FLAT = "parameters"
"""The key of numbers of which only a like network says what they are."""
LARGEST_JSON = 64 << 20
MOST_NUMBERS = 1 << 24
_ACTIVATIONS: Mapping[str, type[nn.Module]] = {"tanh": nn.Tanh, "relu": nn.ReLU, "elu": nn.ELU, "gelu": nn.GELU}
_LAYER = re.compile(r"(\d{1,3})\.(weight|bias)")
_NETS = ("mlp_extractor.policy_net", "mlp_extractor.value_net")


def _has_policy(file: Path) -> bool:
    try:
        return any(member.filename == POLICY for member in zip_members(file))
    except DataError:
        return False


def _zips(folder: Path) -> list[Path]:
    return [file for file in files_in(folder) if file.suffix == ".zip"]


def _sb3(folder: Path, choices: Choices) -> Collected:
    kind = choices.attributes.activation
    stated = (("activation", kind),) if isinstance(kind, str) else ()
    entries = [
        Entry(name_of(file, folder), Member(file, POLICY, file.stat().st_size, stated)) for file in _zips(folder)
    ]
    if not entries:
        raise ZooError(f"{folder}: no zips of policies in it")
    return Collected(entries)


class _ActorCritic(nn.Module):
    """Two chains of layers under the keys that Stable-Baselines3 gives them."""

    def __init__(self, chains: Mapping[str, nn.Sequential], ends: Mapping[str, nn.Linear], log_std: Tensor | None):
        super().__init__()
        self.mlp_extractor = nn.Module()
        for name, chain in chains.items():
            self.mlp_extractor.add_module(name.split(".")[1], chain)
        self.action_net, self.value_net = ends["action_net"], ends["value_net"]
        self.log_std = None if log_std is None else nn.Parameter(log_std.clone())

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        extractor = self.mlp_extractor
        actions = self.action_net(extractor.policy_net(x))  # type: ignore[operator]
        value = self.value_net(extractor.value_net(x))  # type: ignore[operator]
        return (actions, value) if self.log_std is None else (actions, self.log_std, value)


def _assumed(reading: Reading, stated: tuple[tuple[str, str], ...]) -> tuple[nn.Module, object] | None:
    """The actor-critic policy of these keys; None where it is another."""
    activation = _ACTIVATIONS.get(dict(stated).get("activation", ""))
    state = reading.state
    if activation is None or any(state.get(f"{end}.weight") is None for end in ("action_net", "value_net")):
        return None
    chains = {name: _chain(state, name, activation) for name in _NETS}
    ends = {name: _linear(state, name) for name in ("action_net", "value_net")}
    first = state.get(f"{_NETS[0]}.0.weight")
    inputs = first if first is not None and first.ndim == 2 else state["action_net.weight"]
    module = _ActorCritic(chains, ends, state.get("log_std")).eval()
    if {key: x.shape for key, x in module.state_dict().items()} != {key: x.shape for key, x in state.items()}:
        return None
    return module, torch.randn(4, inputs.shape[1], generator=torch.Generator().manual_seed(0))


def _chain(state: Mapping[str, Tensor], prefix: str, activation: type[nn.Module]) -> nn.Sequential:
    numbers = sorted({int(match[1]) for key in state if (match := _LAYER.fullmatch(key.removeprefix(f"{prefix}.")))})
    if numbers != list(range(0, 2 * len(numbers), 2)):
        return nn.Sequential()
    layers: list[nn.Module] = []
    for number in numbers:
        layers += [_linear(state, f"{prefix}.{number}"), activation()]
    return nn.Sequential(*layers)


def _linear(state: Mapping[str, Tensor], name: str) -> nn.Linear:
    weight = state.get(f"{name}.weight")
    sizes = (int(weight.shape[1]), int(weight.shape[0])) if weight is not None and weight.ndim == 2 else (1, 1)
    return nn.Linear(*sizes, bias=f"{name}.bias" in state)


@dataclass(frozen=True, slots=True)
class FlatList(AtPath):
    """All numbers of a network in a JSON file.

    Args:
        path: The file.
        bytes: Its size.
        stated: Nothing.
    """

    path: Path
    bytes: int
    stated: tuple[tuple[str, str], ...] = ()

    def read(self) -> Reading:
        """The numbers, in float64 as JSON has them."""
        document = json_document(self.path, LARGEST_JSON)
        numbers = document[0] if isinstance(document, list) and document else None
        if not isinstance(numbers, list) or not numbers or len(numbers) > MOST_NUMBERS:
            raise ZooError(f"{self.path}: not one of estool's: a list whose first entry is the list of numbers")
        if not all(type(x) in (int, float) for x in numbers):
            raise ZooError(f"{self.path}: holds something among its numbers that is none")
        return Reading({FLAT: torch.tensor([float(x) for x in numbers], dtype=torch.float64)})


def unflattened(flat: Tensor, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """The state dicts, stacked, of estool's lists.

    Args:
        flat: (networks, numbers).
        shapes: The keys and shapes of the network, layer by layer.
    """
    state, start = {}, 0
    for key, shape in shapes.items():
        count = torch.Size(shape).numel()
        part = flat[:, start : start + count]
        turned = len(shape) == 2
        state[key] = part.reshape(-1, *shape[::-1]).transpose(1, 2).contiguous() if turned else part.reshape(-1, *shape)
        start += count
    return state


def _lists(folder: Path) -> list[Path]:
    return [file for file in files_in(folder) if file.suffix == ".json"]


def _is_lists(folder: Path) -> bool:
    """Whether the first JSON file begins with a list in a list."""
    found = _lists(folder)
    if not found:
        return False
    with found[0].open("rb") as stream:
        return bytes(stream.read(64)).replace(b" ", b"").replace(b"\n", b"").startswith(b"[[")


def _estool(folder: Path, choices: Choices) -> Collected:
    entries = [Entry(name_of(file, folder), FlatList(file, file.stat().st_size)) for file in _lists(folder)]
    if not entries:
        raise ZooError(f"{folder}: no JSON files in it")
    return Collected(entries)


SB3 = Layout(
    "sb3",
    "NAME.zip with policy.pth, as Stable-Baselines3",
    lambda folder: any(_has_policy(file) for file in _zips(folder)[:1]),
    _sb3,
    assumed=_assumed,
    advice="Stable-Baselines3's PPO and A2C have --activation tanh",
)
ESTOOL = Layout("estool", "NAME.json with a list of numbers, as estool", _is_lists, _estool)
