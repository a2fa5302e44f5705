"""Our attention in place of PyTorch's, in a model that is there already."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from hybrid_attention.multihead import MultiHeadAttention


def replace_attention(model: nn.Module, make: Callable[[int, int, int], MultiHeadAttention]) -> list[str]:
    """Replace every `torch.nn.MultiheadAttention` of a model, in place, keeping its projections.

    Weights, biases, dtype, device, training mode and what is trainable carry over; a module without biases gets biases
    that are zero and stay so. Dropout of attention weights and hooks do not carry over. Every `TransformerEncoder`
    around a replaced module stops making nested tensors. Nothing is changed where anything is refused.

    Args:
        model: holds the modules; make its optimizer afterwards.
        make: makes the attention for one module, given embed_dim, num_heads and the module's number, from 0 in the
            order of `model.modules()` (as a seed, for example).

    Returns:
        Names of the modules that were replaced, in that order; one that stands in several places has several.

    Raises:
        ValueError: a model without such modules, a module that does what ours does not (names it and why), or an
            attention from `make` that does not fit.
    """
    places = [
        (name, module)
        for name, module in model.named_modules(remove_duplicate=False)
        if isinstance(module, nn.MultiheadAttention)
    ]
    if not places:
        raise ValueError("model has no torch.nn.MultiheadAttention; give one that has")
    if isinstance(model, nn.MultiheadAttention):
        raise ValueError("model is a torch.nn.MultiheadAttention itself; give the module that holds it")
    made: dict[nn.Module, MultiHeadAttention] = {}
    for name, module in places:
        _require_plain(name, module)
    for name, module in places:
        if module not in made:
            made[module] = _replacement(name, module, make(module.embed_dim, module.num_heads, len(made)))
    for name, module in places:
        parent, _, child = name.rpartition(".")
        setattr(model.get_submodule(parent), child, made[module])
    replaced = set(made.values())
    for encoder in model.modules():
        if isinstance(encoder, nn.TransformerEncoder) and not replaced.isdisjoint(encoder.modules()):
            encoder.use_nested_tensor = False
    return [name for name, _ in places]


def _require_plain(name: str, module: nn.MultiheadAttention) -> None:
    """Check that a module does nothing that ours does not."""
    refusals = {
        f"is a {type(module).__name__}; only plain torch.nn.MultiheadAttention can be replaced": (
            type(module) is not nn.MultiheadAttention
        ),
        "has batch_first=False; build it with batch_first=True": not module.batch_first,
        f"has kdim={module.kdim} and vdim={module.vdim}; both must be embed_dim = {module.embed_dim}": (
            (module.kdim, module.vdim) != (module.embed_dim, module.embed_dim)
        ),
        "has add_bias_kv=True; build it without": module.bias_k is not None or module.bias_v is not None,
        "has add_zero_attn=True; build it without": module.add_zero_attn,
    }
    for reason, refused in refusals.items():
        if refused:
            raise ValueError(f"module {name} {reason}")


@torch.no_grad()
def _replacement(name: str, module: nn.MultiheadAttention, made: MultiHeadAttention) -> MultiHeadAttention:
    """What `make` made, with a module's projections."""
    if not isinstance(made, MultiHeadAttention):
        raise ValueError(
            f"make gave a {type(made).__name__} for module {name}; it must give an attention of this package"
        )
    for size in ("embed_dim", "num_heads"):
        ours, theirs = getattr(made, size), getattr(module, size)
        if ours != theirs:
            raise ValueError(f"make gave an attention with {size} = {ours} for module {name}, which has {theirs}")
    made.to(module.in_proj_weight).train(module.training)
    pairs = (
        (made.in_proj_weight, module.in_proj_weight),
        (made.in_proj_bias, module.in_proj_bias),
        (made.out_proj.weight, module.out_proj.weight),
        (made.out_proj.bias, module.out_proj.bias),
    )
    for ours, theirs in pairs:
        if theirs is None:
            ours.zero_().requires_grad_(False)
        else:
            ours.copy_(theirs).requires_grad_(theirs.requires_grad)
    return made
