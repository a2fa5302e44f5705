"""Designed schedules that ship as data: angles, held-out KL, range and recipe, one JSON file each.

Each file holds the recipe that made it; `design_schedule` and `hybrid-attention design` follow it with the same values.
"""

from __future__ import annotations

from pathlib import Path

PRESETS = ("4", "8", "16", "4-wide", "8-wide", "16-wide")
"""Names: the number of steps, and whether strong fields and couplings were designed for too."""


def preset_file(preset: int | str, wide: bool = False) -> Path:
    """Where a preset's data is.

    Args:
        preset: number of steps, or a name in `PRESETS`.
        wide: take the wide one of these steps.

    Raises:
        ValueError: no such preset.
    """
    name = f"{preset}-wide" if wide and not str(preset).endswith("-wide") else str(preset)
    if isinstance(preset, bool) or name not in PRESETS:
        raise ValueError(f"preset is {name!r}; choose one of {', '.join(PRESETS)} (design_schedule makes others)")
    return Path(__file__).with_name(f"{name}.json")
