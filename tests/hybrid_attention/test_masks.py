"""Masks reduced to visible keys and an addition, entry by entry."""

import pytest
import torch

from hybrid_attention.masks import combine_masks

SIZES = {"batch": 2, "heads": 3, "queries": 4, "keys": 5, "device": torch.device("cpu")}


def combine(attn_mask=None, key_padding_mask=None, is_causal=False):
    mask = combine_masks(attn_mask, key_padding_mask, is_causal, **SIZES)
    full = (2, 3, 4, 5)
    return tuple(None if part is None else part.expand(full) for part in mask)


def test_no_mask_is_none():
    assert combine() == (None, None)


def test_every_entry_of_all_masks_together():
    generator = torch.Generator().manual_seed(0)
    attn = torch.randn(6, 4, 5, generator=generator)
    attn[torch.rand(attn.shape, generator=generator) < 0.3] = -torch.inf
    padding = torch.randn(2, 5, generator=generator)
    padding[1, 3] = -torch.inf
    visible, addition = combine(attn, padding, is_causal=True)
    for b in range(2):
        for h in range(3):
            for i in range(4):
                for j in range(5):
                    total = attn[3 * b + h, i, j] + padding[b, j]
                    assert visible[b, h, i, j] == (j <= i and torch.isfinite(total))
                    if torch.isfinite(total):
                        assert addition[b, h, i, j] == total


def test_true_means_hidden_and_adds_nothing():
    mask = torch.zeros(4, 5, dtype=torch.bool)
    mask[1, 2] = True
    visible, addition = combine(attn_mask=mask)
    assert torch.equal(visible, ~mask.expand(2, 3, 4, 5))
    assert addition is None


def test_a_float_mask_of_zeros_and_infinities_adds_nothing():
    mask = torch.zeros(2, 5)
    mask[0, 0] = -torch.inf
    visible, addition = combine(key_padding_mask=mask)
    assert not visible[0, :, :, 0].any()
    assert visible[1].all()
    assert addition is None


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("wide", [None, torch.float32])
def test_what_others_write_for_minus_infinity_hides_a_key(dtype, wide):
    lowest = torch.finfo(dtype).min
    for number in {lowest, max(-1e9, lowest), -1e4, -torch.inf}:
        mask = torch.tensor([[0.0, number, 0.5, -999.0, 0.0]], dtype=dtype).expand(2, -1)
        visible, addition = combine_masks(None, mask, False, **SIZES, dtype=wide)
        assert addition.dtype == (wide or dtype)
        assert visible[0, 0, 0].tolist() == [True, False, True, True, True]
        assert addition[0, 0, 0].tolist() == [0.0, 0.0, 0.5, mask[0, 3].item(), 0.0]


def test_an_addition_has_the_dtype_asked_for_and_what_overflows_there_is_hidden():
    mask = torch.tensor([[0.25, -1e300, 0.0, 0.0, 0.0]], dtype=torch.float64).expand(2, -1)
    visible, addition = combine_masks(None, mask, False, **SIZES, dtype=torch.float32)
    assert addition.dtype == torch.float32
    assert visible[0, 0, 0].tolist() == [True, False, True, True, True]


def test_masks_that_are_views():
    mask = torch.rand(2, 1, 1, 5).expand(2, 3, 4, 5) < 0.5
    visible, _ = combine(attn_mask=mask.flatten(0, 1))
    assert torch.equal(visible, ~mask)
    crossed = torch.rand(5, 4, 6).permute(2, 1, 0) < 0.5
    visible, _ = combine(attn_mask=crossed)
    assert torch.equal(visible, ~crossed.reshape(2, 3, 4, 5))


def test_causal_lets_a_query_see_itself_and_the_past():
    visible, _ = combine(is_causal=True)
    assert visible[0, 0].int().tolist() == [[1, 0, 0, 0, 0], [1, 1, 0, 0, 0], [1, 1, 1, 0, 0], [1, 1, 1, 1, 0]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"attn_mask": torch.zeros(5, 4)}, r"attn_mask has shape \(5, 4\); it must be \(queries, keys\) = \(4, 5\)"),
        ({"attn_mask": torch.zeros(2, 4, 5)}, r"attn_mask has shape \(2, 4, 5\)"),
        ({"attn_mask": torch.zeros(4, 5, dtype=torch.int64)}, "attn_mask has dtype torch.int64"),
        ({"attn_mask": torch.full((4, 5), torch.nan)}, "attn_mask contains NaN"),
        ({"attn_mask": torch.full((4, 5), torch.inf)}, r"attn_mask contains NaN or a number above 1e\+06"),
        ({"key_padding_mask": torch.zeros(5, 2)}, r"key_padding_mask has shape \(5, 2\)"),
        ({"key_padding_mask": torch.zeros(2, 5, dtype=torch.uint8)}, "key_padding_mask has dtype torch.uint8"),
    ],
)
def test_bad_masks_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        combine(**options)
