"""Graphs as converters make them: layers named by modules, a residual stream, heads, experts, convolutions."""

from __future__ import annotations

from graphws.graph import NetworkGraph, Parameter, Space


def transformer(layers: int = 6, reason: str = "rows are looked up") -> NetworkGraph:
    """A language model of equal layers on one stream; its class head is free."""
    spaces = [Space("tokens", 1000, "free", role="tokens", reason=reason), Space("wte", 64, role="residual")]
    parameters = [Parameter("model.wte.weight", "tokens wte^0")]  # type: ignore[arg-type]
    for k in range(layers):
        attn, mlp = f"model.h.{k}.attn", f"model.h.{k}.mlp"
        spaces += [
            Space(f"{attn}.q/heads", 4, role="heads"),
            Space(f"{attn}.q/head", 16, "nested", f"{attn}.q/heads", "linear"),  # type: ignore[arg-type]
            Space(f"{attn}.v/head", 16, "nested", f"{attn}.q/heads", "linear"),  # type: ignore[arg-type]
            Space(f"{mlp}.up", 256, role="hidden"),
        ]
        for name, axes in (
            (f"model.h.{k}.ln_1.weight", "wte"),
            (f"{attn}.q.weight", f"{attn}.q/head wte*"),
            (f"{attn}.k.weight", f"{attn}.q/head* wte*"),
            (f"{attn}.v.weight", f"{attn}.v/head wte*"),
            (f"{attn}.v.bias", f"{attn}.v/head"),
            (f"{attn}.o.weight", f"wte^0 {attn}.v/head*"),
            (f"model.h.{k}.ln_2.weight", "wte"),
            (f"{mlp}.up.weight", f"{mlp}.up wte*"),
            (f"{mlp}.down.weight", f"wte^0 {mlp}.up*"),
        ):
            parameters.append(Parameter(name, axes))  # type: ignore[arg-type]
    spaces.append(Space("classes", 10, "free", reason="output"))
    parameters.append(Parameter("model.head.weight", "classes wte*"))  # type: ignore[arg-type]
    return NetworkGraph(tuple(spaces), tuple(parameters))


def convolutions() -> NetworkGraph:
    """Two convolutions, a norm with a count of batches, a scalar without a module, a recurrent weight."""
    spaces = (
        Space("rgb", 3, "free"),
        Space("k3", 3, "free"),
        Space("c1", 16),
        Space("c2", 32),
        Space("out", 5, "free"),
    )
    axes = {
        "net.0.weight": "c1 rgb* k3 k3",
        "net.0.bias": "c1",
        "net.1.weight": "c1",
        "net.1.running_mean": "c1^0",
        "net.1.num_batches_tracked": "",
        "net.2.weight": "c2 c1* k3 k3",
        "loop": "c2 c2*",
        "temperature": "",
        "head.weight": "out c2*",
    }
    return NetworkGraph(spaces, tuple(Parameter(name, text) for name, text in axes.items()))  # type: ignore[arg-type]


def hostile() -> NetworkGraph:
    """Names that try to leave the page."""
    evil = "</script><script>document.title='pwned'</script>"
    return NetworkGraph(
        (Space("a", 2, "free", reason=evil, role=evil), Space("b", 3, reason="<img src=x onerror=alert(1)>")),
        (
            Parameter(evil, "b a*"),  # type: ignore[arg-type]
            Parameter("]]><!--&lt;", "b"),  # type: ignore[arg-type]
            Parameter("x" * 5000 + ".weight", "a"),  # type: ignore[arg-type]
        ),
    )
