"""Windowed attention with random parameters, and the same thing written out with dense matrices."""

import torch
from arm_cases import ARMS, DIM, HEADS, normal, tokens
from injected_samplers import LawSampler

from hybrid_attention.windows import Window

WINDOWED = ("softmax", "sigmoid", "boltzmann", "hopfield")


def windowed(name, window, seed=0, scale=0.5, **options):
    """An arm in float64 with random numbers in every parameter."""
    module = ARMS[name](DIM, HEADS, 1, window=window, **options).double()
    with torch.no_grad():
        for number, parameter in enumerate(module.parameters()):
            parameter.copy_(normal(*parameter.shape, seed=seed + number, scale=scale))
    return module


def slot_of(query, key, window):
    """The slot in which a query sees a key, or None, by the definition."""
    if key > query:
        return None
    if query - key < window.size:
        return query - key
    return window.size + key if key < window.global_keys else None


def projected(module, x):
    """q, k and v, (batch, heads, length, head_dim)."""
    parts = torch.nn.functional.linear(x, module.in_proj_weight, module.in_proj_bias).chunk(3, -1)
    return [part.unflatten(-1, (HEADS, -1)).transpose(1, 2) for part in parts]


def dense_fields(module, x, window: Window):
    """h for every query and key, position by position, and which keys are seen."""
    q, k, _ = projected(module, x)
    batch, heads, length, width = q.shape
    fields = q.new_zeros(batch, heads, length, length)
    seen = torch.zeros(length, length, dtype=torch.bool)
    for i in range(length):
        for j in range(length):
            slot = slot_of(i, j, window)
            if slot is None:
                continue
            seen[i, j] = True
            fields[:, :, i, j] = (q[:, :, i] * (k[:, :, j] + module.slot_keys[:, slot])).sum(-1) * width**-0.5
            if module.position_bias is not None:
                fields[:, :, i, j] += module.position_bias[:, slot]
    return fields, seen


def coupling_of(module, x, b, head, query, j, k):
    """J between the keys j < k of a query, by what each kind of coupling says it is."""
    if j >= k:
        return 0.0
    window, kind = module.window, module.coupling_kind
    first, second = slot_of(query, k, window), slot_of(query, j, window)  # the later key stands in the earlier slot
    low, high = min(first, second), max(first, second)
    if kind == "none":
        return 0.0
    if kind == "content":
        a, c = (p(x[b]).unflatten(-1, (HEADS, -1))[:, head] for p in (module.couplings.first, module.couplings.second))
        return float((a[j] @ c[k]).detach()) * a.shape[-1] ** -0.5
    if kind == "relative" and high < window.size:
        return float(module.couplings.values[head, k - j - 1].detach())
    full = module.couplings(torch.zeros(1, window.slots, DIM, dtype=torch.float64)).detach()
    return float(full[head, low, high])


def copy_parameters(ordinary, inside):
    """Everything but what belongs to positions or slots."""
    state = {k: v for k, v in ordinary.state_dict().items() if k not in ("position_bias", "couplings.values")}
    missing = inside.load_state_dict(state, strict=False)
    assert set(missing.missing_keys) <= {"slot_keys", "position_bias", "couplings.values"}
    if "couplings.values" in ordinary.state_dict() and ordinary.coupling_kind == "relative":
        inside.couplings.values.data.copy_(ordinary.couplings.values)


def assert_samplers_get_the_same_models(window, length, couplings, **masks):
    """A sampler that gives every configuration its probability has no noise to hide a wrong model."""
    exact = windowed("boltzmann", window, couplings=couplings)
    sampled = windowed("boltzmann", window, couplings=couplings, sampler=LawSampler())
    x, upstream = tokens(2, length), normal(2, length, DIM, seed=9)
    got, expected = sampled(x, seed=1, **masks)[0], exact(x, **masks)[0]
    torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-11)
    (got * upstream).sum().backward()
    (expected * upstream).sum().backward()
    for own, other in zip(sampled.parameters(), exact.parameters(), strict=True):
        torch.testing.assert_close(own.grad, other.grad, rtol=1e-8, atol=1e-10)
