"""Which settings of an attention go together."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal, get_args

from hybrid_attention.flags import require

if TYPE_CHECKING:
    from hybrid_attention.config import TrainConfig

AttentionName = Literal["boltzmann", "softmax", "sigmoid", "hopfield", "linear", "gated-linear"]
"""Kinds of attention by the name they have on the command line (`hybrid_attention.build.ATTENTION`)."""
CouplingsName = Literal["position", "relative", "content", "none", "fixed"]
ReadoutName = Literal["mean", "sum", "free-energy"]

HOPFIELD_UPDATES = 3
"""Updates of Hopfield attention where no number is given."""
ISING = ("boltzmann", "sigmoid")
"""Kinds whose decisions are spins."""
FIELDS = ("boltzmann", "sigmoid", "softmax")
"""Kinds whose weights are made of fields alone, and of couplings."""
NORMALIZED = ("hopfield", "linear", "gated-linear")
"""Kinds whose weights sum to 1 by themselves."""
LINEAR = ("linear", "gated-linear")


def validate_arm(config: TrainConfig) -> None:
    """Check the settings of the attention and of the model around it.

    Args:
        config: a run's settings.

    Raises:
        InputError: names the first flag that does not fit, its value and the fix.
    """
    names = (("attention", AttentionName), ("couplings", CouplingsName), ("readout", ReadoutName))
    for name, known in names:
        value = getattr(config, name)
        require(value in get_args(known), name, value, f"use one of {', '.join(get_args(known))}")
    arm = f"--attention {config.attention}"
    if config.attention != "boltzmann":
        fix = f"{arm} has no couplings; use --attention boltzmann, or leave it out"
        require(config.couplings == type(config).couplings, "couplings", config.couplings, fix)
        require(config.lr_couplings is None, "lr_couplings", config.lr_couplings, fix)
    if config.attention in NORMALIZED:
        fix = f"the weights of {arm} sum to 1; use mean or free-energy"
        require(config.readout != "sum", "readout", config.readout, fix)
    if config.attention in LINEAR:
        fix = f"it is a number for every pair, which would make {arm} quadratic; leave it out"
        require(not config.position_bias, "position_bias", config.position_bias, fix)
        fix = f"{arm} costs O(length) without one; leave it out"
        require(config.window is None, "window", config.window, fix)
    require(config.window is None or config.window >= 1, "window", config.window, "give at least 1")
    require(config.global_keys >= 0, "global_keys", config.global_keys, "give at least 0")
    fix = "global keys are what a query sees beside its --window; give one"
    require(config.global_keys == 0 or config.window is not None, "global_keys", config.global_keys, fix)
    updates = config.hopfield_updates
    for name in ("hopfield_updates", "feed_forward"):
        value = getattr(config, name)
        require(value is None or value >= 1, name, value, "give at least 1")
    fix = "it goes with --attention hopfield"
    require(updates is None or config.attention == "hopfield", "hopfield_updates", updates, fix)
    limit = config.field_limit
    if limit is not None:
        require(math.isfinite(limit) and limit > 0, "field_limit", limit, "give a positive number")
        fix = f"{arm} is not made of fields alone; use --attention {', '.join(FIELDS)}, or leave it out"
        require(config.attention in FIELDS, "field_limit", limit, fix)
    weight = config.energy_loss
    require(math.isfinite(weight) and weight >= 0, "energy_loss", weight, "give 0 or a positive number")
    fix = f"{arm} makes no patterns of spins; use --attention {' or '.join(ISING)}"
    require(weight == 0 or config.attention in ISING, "energy_loss", weight, fix)
