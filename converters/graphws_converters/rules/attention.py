"""Scaled dot-product attention, made of two products and a softmax."""

from __future__ import annotations

from graphws_converters.algebra.tensors import Abstract
from graphws_converters.analysis.engine import Engine
from graphws_converters.rules.creation import copies
from graphws_converters.rules.registry import Call, Result, rule


@rule("scaled_dot_product_attention", "_scaled_dot_product_flash_attention_for_cpu", powers=True)
@rule("_scaled_dot_product_flash_attention", "_scaled_dot_product_efficient_attention", powers=True)
@rule("_scaled_dot_product_attention_math", "_scaled_dot_product_fused_attention_overrideable", powers=True)
def attention(e: Engine, call: Call) -> Result:
    """softmax(q kᵀ + mask) v; with fewer key heads than query heads, each serves a run of query heads."""
    q, k, v = (e.plain(call[name]) for name in ("query", "key", "value"))
    if len(q.legs) > 3 and q.shape[-3] != k.shape[-3]:
        k, v = (_repeat_heads(e, x, q.shape[-3] // x.shape[-3]) for x in (k, v))
    rank = len(k.legs)
    scores = e.matmul(q, e.permute(k, [*range(rank - 2), rank - 1, rank - 2]))
    mask = call.get("attn_mask")
    if mask is not None:
        scores = e.pointwise([scores, mask], why="an attention mask")
    if call.get("is_causal", False):
        e.release(scores.legs[-2:], "a causal mask")
    out = e.matmul(e.mixing(scores, [-1]), v)
    return [out, *(e.fresh(shape, "by-products of attention") for shape in call.shapes[1:])]


def _repeat_heads(e: Engine, x: Abstract, times: int) -> Abstract:
    legs = list(x.legs)
    legs[-3] = copies(e, legs[-3], times, slow=False)
    return e.tensor(legs, x)
