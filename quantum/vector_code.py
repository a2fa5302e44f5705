"""LLVM instructions on vectors of numbers, for compiled functions that numba's own compiler makes slow.

numba compiles loops of scalars well, but not the exchange of numbers inside a register. LLVM splits a vector into
whatever registers the processor has.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.core import cgutils

Pair = tuple[Any, Any]
"""Real and imaginary parts."""


class Emitter:
    """Emits instructions on vectors of `lanes` numbers."""

    def __init__(self, context: Any, builder: Any, signature: Any, values: Any, lanes: int) -> None:
        self.builder, self.lanes = builder, lanes
        arrays = [(k, v) for k, v in zip(signature.args, values, strict=True) if isinstance(k, types.Array)]
        self.pointers = [cgutils.create_struct_proxy(k)(context, builder, value=v).data for k, v in arrays]
        self.numbers = [context.get_value_type(k.dtype) for k, _ in arrays]
        self.number = self.numbers[0]
        self.vector = ir.VectorType(self.number, lanes)
        self.bytes = context.get_abi_sizeof(self.number)

    def load(self, array: int, index: Any) -> Any:
        """The vector that starts at an index."""
        address = self.builder.gep(self.pointers[array], [index])
        return self.builder.load(self.builder.bitcast(address, self.vector.as_pointer()), align=32)

    def store(self, value: Any, array: int, index: Any) -> None:
        """Write a vector to where an index points, rounded where that array's numbers are shorter."""
        vector = ir.VectorType(self.numbers[array], self.lanes)
        if vector != self.vector:
            value = self.builder.fptrunc(value, vector)
        address = self.builder.gep(self.pointers[array], [index])
        self.builder.store(value, self.builder.bitcast(address, vector.as_pointer()), align=32)

    def splat_from(self, array: int, index: Any) -> Any:
        """One number of an array in every lane."""
        return self.splat(self.builder.load(self.builder.gep(self.pointers[array], [index])))

    def splat(self, scalar: Any) -> Any:
        """One number in every lane."""
        first = self.builder.insert_element(ir.Constant(self.vector, ir.Undefined), scalar, ir.IntType(32)(0))
        return self.builder.shuffle_vector(first, first, self._places([0] * self.lanes))

    def multiply_add(self, a: Any, b: Any, c: Any) -> Any:
        """a·b + c, fused where the processor can."""
        return self._call("fmuladd", a, b, c)

    def round(self, a: Any) -> Any:
        """The nearest integer."""
        return self._call("rint", a)

    def product(self, a: Pair, b: Pair) -> Pair:
        """Complex product."""
        builder = self.builder
        real = self.multiply_add(a[0], b[0], builder.fneg(builder.fmul(a[1], b[1])))
        return real, self.multiply_add(a[0], b[1], builder.fmul(a[1], b[0]))

    def polynomial(self, z: Any, coefficients: tuple[float, ...]) -> Any:
        """Σ_k coefficient_k z^k."""
        total = self.constant(coefficients[-1])
        for coefficient in coefficients[-2::-1]:
            total = self.multiply_add(total, z, self.constant(coefficient))
        return total

    def conjugate(self, a: Pair) -> Pair:
        """Complex conjugate."""
        return a[0], self.builder.fneg(a[1])

    def rotate_lanes(self, value: Any, tangent: Any) -> Any:
        """Rotation by every qubit inside a register, over its cosine."""
        for bit in range(self.lanes.bit_length() - 1):
            partner = self.builder.shuffle_vector(value, value, self._places([x ^ 1 << bit for x in range(self.lanes)]))
            value = self.multiply_add(self.builder.fmul(self.signs(bit), tangent), partner, value)
        return value

    def reverse(self, value: Any) -> Any:
        """Last lane first."""
        return self.builder.shuffle_vector(value, value, self._places(list(range(self.lanes))[::-1]))

    def signs(self, bit: int) -> Any:
        """−1 in lanes whose index has a bit clear, +1 where it is set."""
        return ir.Constant(self.vector, [self.number(1.0 if x >> bit & 1 else -1.0) for x in range(self.lanes)])

    def constant(self, number: float) -> Any:
        """A known number in every lane."""
        return ir.Constant(self.vector, [self.number(number)] * self.lanes)

    def _call(self, name: str, *arguments: Any) -> Any:
        kind = ir.FunctionType(self.vector, [self.vector] * len(arguments))
        name = f"llvm.{name}.v{self.lanes}f{8 * self.bytes}"
        return self.builder.call(cgutils.get_or_insert_function(self.builder.module, kind, name), arguments)

    def _places(self, places: list[int]) -> Any:
        return ir.Constant(ir.VectorType(ir.IntType(32), self.lanes), places)
