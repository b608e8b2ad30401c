"""Fit the two polynomials of kernels/error_function.py by Chebyshev interpolation, in 50 digits.

|x| < 1:  erf(x) = x + x P(x^2)
|x| >= 1: erf(|x|) = 1 - exp(-x^2) Q(t), t = (|x| - C) / (|x| + C)
Run: python docs/erf_coefficients.py. It prints, highest power first, the tables that it holds,
and the largest error of each fit (P: relative to 1 + P; Q: relative to Q).
"""

from __future__ import annotations

from collections.abc import Callable

import mpmath  # type: ignore[import-untyped]

mpmath.mp.dps = 50
POLE = mpmath.mpf("2.5")  # the map's centre: the best of seven tried from 2 to 4
FAR = 6  # erf(6) rounds to 1 in float64


def near(z: mpmath.mpf) -> mpmath.mpf:
    """erf(x) / x - 1 at z = x^2."""
    return mpmath.erf(mpmath.sqrt(z)) / mpmath.sqrt(z) - 1 if z else 2 / mpmath.sqrt(mpmath.pi) - 1


def far(t: mpmath.mpf) -> mpmath.mpf:
    """exp(x^2) erfc(x) at t = (x - C) / (x + C)."""
    x = POLE * (1 + t) / (1 - t)
    return mpmath.exp(x * x) * mpmath.erfc(x)


def fit(f: Callable, low: mpmath.mpf, high: mpmath.mpf, degree: int) -> list[mpmath.mpf]:
    """Monomial coefficients, highest first, of the interpolant at the Chebyshev nodes."""
    nodes = [
        (low + high) / 2 + (high - low) / 2 * mpmath.cos(mpmath.pi * (2 * k + 1) / (2 * degree + 2))
        for k in range(degree + 1)
    ]
    powers = mpmath.matrix([[x**p for p in range(degree, -1, -1)] for x in nodes])
    return list(mpmath.lu_solve(powers, mpmath.matrix([f(x) for x in nodes])))


def worst(f: Callable, low: mpmath.mpf, high: mpmath.mpf, table: list, offset: int) -> float:
    """Largest |fit - f| / |offset + f| over 400 points."""
    points = [low + (high - low) * k / 399 for k in range(400)]
    table = [mpmath.mpf(float(c)) for c in table]  # as float64 stores them
    return float(max(abs((mpmath.polyval(table, x) - f(x)) / (offset + f(x))) for x in points))


if __name__ == "__main__":
    ends = [(x - POLE) / (x + POLE) for x in (mpmath.mpf(1), mpmath.mpf(FAR))]
    for name, near_degree, far_degree in (("float32", 6, 8), ("float64", 12, 16)):
        for label, f, low, high, degree, offset in (
            ("near", near, mpmath.mpf(0), mpmath.mpf(1), near_degree, 1),
            ("far", far, *ends, far_degree, 0),
        ):
            table = fit(f, low, high, degree)
            print(f"# {name} {label}: degree {degree}, {worst(f, low, high, table, offset):.1e}")
            print("    (" + ", ".join(repr(float(c)) for c in table) + "),")
