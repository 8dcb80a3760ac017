"""Intervals that hold however often one looks: asymptotic confidence sequences.

Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas, "Time-uniform central limit theory and asymptotic confidence sequences"
(arXiv 2103.06476), Theorem 2.2: for a mean estimated from t cases with standard error s(t),

    s(t) · sqrt( 2 (tρ² + 1) / (tρ²) · log( sqrt(tρ² + 1) / α ) )

to each side holds at all t together with probability 1 − α, in the limit of a late first look. ρ says at which t the
interval is narrowest; it must be fixed before the data is seen (their Appendix B.2: ρ² = (−2 log α + log(−2 log α) + 1) / t).
"""

from __future__ import annotations

from math import log, sqrt

__all__ = ["FEWEST", "reach"]

FEWEST = 200
"""Payments in each arm before the first look; earlier, a standard error says too little."""


def reach(n: float, tuned_for: float, alpha: float = 0.05) -> float:
    """How many standard errors the interval reaches to each side after `n` cases, if it is narrowest at `tuned_for`.

    >>> [round(reach(n, tuned_for=20_000), 2) for n in (2_000, 20_000, 200_000)]
    [3.76, 3.04, 3.26]
    """
    rho2 = (-2.0 * log(alpha) + log(-2.0 * log(alpha)) + 1.0) / tuned_for
    spread = n * rho2 + 1.0
    return sqrt(2.0 * spread / (n * rho2) * log(sqrt(spread) / alpha))
