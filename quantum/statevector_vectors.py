"""Operations on a state vector that lies in a flat array, one vector register at a time.

numba compiles loops of scalars well but not the exchange of numbers inside a register, so the inner operations are
written as LLVM vector instructions here; `quantum.statevector_kernel` strings them together. LLVM splits a vector into
whatever registers the processor has.

A state of `size` amplitudes that starts at number p of an array has real parts from p and imaginary parts from
p + size; so have vectors of phases, where `size` is the number of lanes. All positions are multiples of the lanes, in
arrays that start on a boundary of 64 bytes.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.extending import intrinsic

from quantum.vector_code import Emitter, Pair


class Operations(NamedTuple):
    """Operations for one number of lanes, to be called from compiled code.

    Args:
        cos_sin: (angles, at, factor, shift, out, cosines, sines): cosines and sines of factor · angle + shift, for the
            eight angles (float64) from `at`.
        fill: (work, at, value): one number in a whole register.
        move: (source, at, target, to): a register from one array to another.
        law: (work, at, size, out, to): |amplitude|² of a register.
        reversed_law: the same, last lane first.
        scale: (work, number, vector, out): the complex number at `number` times the vector of complex numbers.
        lane_product: (work, out, cosines, sines): Π_q (c_q ± i s_q) over the qubits of a register, + in lanes where
            the spin is +1 and − where it is −1.
        phase: (work, table, at, size, lanes, row, place, tangent): one register of a state times its phases, then
            rotated by the qubits inside it, over their cosines. Its phases are the complex number at `row` times the
            vector at `lanes` times the table's vector at `place`.
        unphase: (work, table, at, size, lanes, row, place, tangent, other, gradient, a, b): undoes `phase` on a state
            ψ at `at` and its co-state λ at `other`, and between mixer and phase adds a Im(λψ*) and b Im(λψ*) to the
            two halves of `gradient`.
        rotate: for 1, 2, … qubits: (work, at, stride, tangent): rotation by those qubits, over their cosines, on 2, 4,
            … registers `stride` numbers apart.
        store_bytes: (out, at, value): eight bytes at once.
    """

    cos_sin: Any
    fill: Any
    move: Any
    law: Any
    reversed_law: Any
    scale: Any
    lane_product: Any
    phase: Any
    unphase: Any
    rotate: tuple[Any, ...]
    store_bytes: Any


@cache
def operations(lanes: int) -> Operations:
    """The operations on vectors of a number of lanes.

    Args:
        lanes: numbers in a vector, a power of two.
    """
    return Operations(
        cos_sin=_cos_sin(),
        fill=_fill(lanes),
        move=_move(lanes),
        law=_law(lanes, False),
        reversed_law=_law(lanes, True),
        scale=_scale(lanes),
        lane_product=_lane_product(lanes),
        phase=_phase(lanes),
        unphase=_unphase(lanes),
        rotate=tuple(_rotate(lanes, qubits + 1) for qubits in range(lanes.bit_length() - 1)),
        store_bytes=_store_bytes(),
    )


def _operation(lanes: int, emit: Callable[..., None]) -> Any:
    """How numba wants an emitter: a function of compiled code that takes what it takes and returns nothing."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        emit(Emitter(context, builder, signature, values, lanes), *values)
        return context.get_dummy_value()

    def operation(typing: Any, *arguments: Any) -> Any:  # noqa: ARG001 (numba prescribes it)
        return types.void(*arguments), generate

    operation.__signature__ = inspect.signature(emit)  # type: ignore[attr-defined]  # numba counts its parameters
    return intrinsic(operation)


_HIGH, _LOW = 1.57079632673412561417e00, 6.07710050650619224932e-11
"""π/2 in two parts; the first has 33 bits, so that its multiples are exact."""
_SINE = (
    -1.66666666666666324348e-01,
    8.33333333332248946124e-03,
    -1.98412698298579493134e-04,
    2.75573137070700676789e-06,
    -2.50507602534068634195e-08,
    1.58969099521155010221e-10,
)
_COSINE = (
    4.16666666666666019037e-02,
    -1.38888888888741095749e-03,
    2.48015872894767294178e-05,
    -2.75573143513906633035e-07,
    2.08757232129817482790e-09,
    -1.13596475577881948265e-11,
)
"""sin r = r + r³ S(r²) and cos r = 1 − r²/2 + r⁴ C(r²) for |r| ≤ π/4, to double precision: the coefficients of Sun's
fdlibm (k_sin.c, k_cos.c)."""


def _cos_sin() -> Any:
    def emit(e: Emitter, _: Any, at: Any, factor: Any, shift: Any, __: Any, cosines: Any, sines: Any) -> None:
        builder, integers = e.builder, ir.VectorType(ir.IntType(64), e.lanes)
        angle = builder.fadd(builder.fmul(e.load(0, at), e.splat(factor)), e.splat(shift))
        turns = e.round(builder.fmul(angle, e.constant(2 / math.pi)))
        back = builder.fneg(turns)
        r = e.multiply_add(back, e.constant(_LOW), e.multiply_add(back, e.constant(_HIGH), angle))
        z = builder.fmul(r, r)
        sine = e.multiply_add(builder.fmul(r, z), e.polynomial(z, _SINE), r)
        cosine = e.multiply_add(builder.fmul(z, z), e.polynomial(z, _COSINE), e.polynomial(z, (1.0, -0.5)))
        quarter = builder.fptosi(turns, integers)
        one, two, top = (ir.Constant(integers, [x] * e.lanes) for x in (1, 2, 62))
        odd = builder.trunc(quarter, ir.VectorType(ir.IntType(1), e.lanes))
        for place, if_even, if_odd, turned in (
            (cosines, cosine, sine, builder.add(quarter, one)),
            (sines, sine, cosine, quarter),
        ):
            bits = builder.bitcast(builder.select(odd, if_odd, if_even), integers)
            sign = builder.shl(builder.and_(turned, two), top)
            e.store(builder.bitcast(builder.xor(bits, sign), e.vector), 1, place)

    return _operation(8, emit)


def _fill(lanes: int) -> Any:
    def emit(e: Emitter, _: Any, at: Any, value: Any) -> None:
        e.store(e.splat(value), 0, at)

    return _operation(lanes, emit)


def _move(lanes: int) -> Any:
    def emit(e: Emitter, _: Any, at: Any, __: Any, to: Any) -> None:
        e.store(e.load(0, at), 1, to)

    return _operation(lanes, emit)


def _law(lanes: int, backwards: bool) -> Any:
    def emit(e: Emitter, _: Any, at: Any, size: Any, __: Any, to: Any) -> None:
        real, imaginary = e.load(0, at), e.load(0, e.builder.add(at, size))
        total = e.builder.fadd(e.builder.fmul(real, real), e.builder.fmul(imaginary, imaginary))
        e.store(e.reverse(total) if backwards else total, 1, to)

    return _operation(lanes, emit)


def _scale(lanes: int) -> Any:
    def emit(e: Emitter, _: Any, number: Any, vector: Any, out: Any) -> None:
        add, width = e.builder.add, out.type(lanes)
        one = (e.splat_from(0, number), e.splat_from(0, add(number, number.type(1))))
        real, imaginary = e.product(one, (e.load(0, vector), e.load(0, add(vector, width))))
        e.store(real, 0, out)
        e.store(imaginary, 0, add(out, width))

    return _operation(lanes, emit)


def _store_bytes() -> Any:
    def emit(e: Emitter, _: Any, at: Any, value: Any) -> None:
        address = e.builder.gep(e.pointers[0], [at])
        e.builder.store(value, e.builder.bitcast(address, value.type.as_pointer()), align=1)

    return _operation(8, emit)


def _lane_product(lanes: int) -> Any:
    def emit(e: Emitter, _: Any, out: Any, cosines: Any, sines: Any) -> None:
        total: Pair | None = None
        for bit in range(lanes.bit_length() - 1):
            cosine, sine = (e.splat_from(0, e.builder.add(start, start.type(bit))) for start in (cosines, sines))
            factor = (cosine, e.builder.fneg(e.builder.fmul(e.signs(bit), sine)))
            total = factor if total is None else e.product(total, factor)
        assert total is not None
        e.store(total[0], 0, out)
        e.store(total[1], 0, e.builder.add(out, out.type(lanes)))

    return _operation(lanes, emit)


def _phases(e: Emitter, size: Any, in_lanes: Any, row: Any, place: Any) -> Pair:
    """The phases of one register, as `Operations.phase` says."""
    add, width = e.builder.add, size.type(e.lanes)
    of_row = (e.splat_from(0, row), e.splat_from(0, add(row, width)))
    of_lanes = (e.load(0, in_lanes), e.load(0, add(in_lanes, width)))
    of_couplings = (e.load(1, place), e.load(1, add(place, size)))
    return e.product(e.product(of_row, of_lanes), of_couplings)


def _phase(lanes: int) -> Any:
    def emit(
        e: Emitter, _: Any, __: Any, at: Any, size: Any, in_lanes: Any, row: Any, place: Any, tangent: Any
    ) -> None:
        parts, turn = (at, e.builder.add(at, size)), e.splat(tangent)
        state = e.product((e.load(0, parts[0]), e.load(0, parts[1])), _phases(e, size, in_lanes, row, place))
        for part, value in zip(parts, state, strict=True):
            e.store(e.rotate_lanes(value, turn), 0, part)

    return _operation(lanes, emit)


def _unphase(lanes: int) -> Any:
    def emit(
        e: Emitter,
        _: Any,
        __: Any,
        at: Any,
        size: Any,
        in_lanes: Any,
        row: Any,
        place: Any,
        tangent: Any,
        other: Any,
        gradient: Any,
        a: Any,
        b: Any,
    ) -> None:
        add, turn = e.builder.add, e.splat(e.builder.fneg(tangent))
        psi, lam = (tuple(e.rotate_lanes(e.load(0, x), turn) for x in (y, add(y, size))) for y in (at, other))
        overlap = e.multiply_add(lam[1], psi[0], e.builder.fneg(e.builder.fmul(lam[0], psi[1])))
        for weight, x in ((a, gradient), (b, add(gradient, size))):
            e.store(e.multiply_add(e.splat(weight), overlap, e.load(0, x)), 0, x)
        back = e.conjugate(_phases(e, size, in_lanes, row, place))
        for x, value in ((at, psi), (other, lam)):
            real, imaginary = e.product(value, back)
            e.store(real, 0, x)
            e.store(imaginary, 0, add(x, size))

    return _operation(lanes, emit)


def _rotate(lanes: int, qubits: int) -> Any:
    def emit(e: Emitter, _: Any, at: Any, stride: Any, tangent: Any) -> None:
        turn, back = e.splat(tangent), e.splat(e.builder.fneg(tangent))
        places = [at]
        for _place in range(2**qubits - 1):
            places.append(e.builder.add(places[-1], stride))
        v = [e.load(0, place) for place in places]
        for bit in range(qubits):
            for low in range(2**qubits):
                high = low | 1 << bit
                if low != high:
                    v[low], v[high] = e.multiply_add(back, v[high], v[low]), e.multiply_add(turn, v[low], v[high])
        for value, place in zip(v, places, strict=True):
            e.store(value, 0, place)

    return _operation(lanes, emit)
