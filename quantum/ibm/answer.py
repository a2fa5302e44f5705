"""Measured bits as text that a journal can hold, and back."""

from __future__ import annotations

from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantum.ibm.circuits import REGISTER
from quantum.jobs.errors import AnswerError

Bits = NDArray[np.uint8]
"""(models, shots, spins), bit 0 is spin +1."""


def packed(result: Any, facts: dict[str, Any]) -> dict[str, Any]:
    """What is kept of a job's result.

    Args:
        result: a `qiskit.primitives.PrimitiveResult`, one PUB result for each circuit.
        facts: what else is to be kept, such as the usage.

    Raises:
        AnswerError: a result without measured bits.
    """
    pubs = []
    for pub in [] if result is None else result:
        bits = getattr(pub.data, REGISTER, None)
        if bits is None:
            raise AnswerError(f"a result has no register {REGISTER!r}")
        pubs.append(
            {
                "shape": list(bits.shape),
                "shots": int(bits.num_shots),
                "bits": int(bits.num_bits),
                "data": b64encode(np.ascontiguousarray(bits.array).tobytes()).decode(),
            }
        )
    return {**facts, "pubs": pubs}


def unpacked(content: dict[str, Any], models: Sequence[int], spins: int, shots: int) -> list[Bits]:
    """The bits of every circuit's models.

    Twirled jobs may hold more shots than were asked for; those asked for are the first.

    Args:
        content: what `packed` made.
        models: of every circuit.
        spins: of all models.
        shots: of every model.

    Raises:
        AnswerError: content that is not what was asked for.
    """
    try:
        pubs = content["pubs"]
        if len(pubs) != len(models):
            raise AnswerError(f"the answer has {len(pubs)} results for {len(models)} circuits")
        found = [_unpacked(pub) for pub in pubs]
    except (KeyError, TypeError, ValueError, Base64Error) as error:
        raise AnswerError(f"the answer cannot be read ({type(error).__name__})") from None
    for bits, count in zip(found, models, strict=True):
        if bits.shape[0] != count or bits.shape[1] < shots or bits.shape[2] != spins:
            raise AnswerError(
                f"the answer has {bits.shape[0]} models, {bits.shape[1]} shots and {bits.shape[2]} bits; asked for "
                f"were {count}, {shots} and {spins}"
            )
    return [bits[:, :shots] for bits in found]


def _unpacked(pub: dict[str, Any]) -> Bits:
    """(models, shots, bits). Qiskit's bytes are big-endian: the first bit is the lowest of the last byte."""
    (models,), shots, bits = pub["shape"], int(pub["shots"]), int(pub["bits"])
    raw = np.frombuffer(b64decode(pub["data"], validate=True), dtype=np.uint8).reshape(models, shots, -(-bits // 8))
    return np.unpackbits(raw[..., ::-1], axis=-1, count=bits, bitorder="little")
