"""How far labels can be trusted: which are final, how they move until they are, and who labels as nobody else does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from features.columns import CATEGORIES
from features.kernel import PENDING
from features.rows import Rows
from training.metrics import wilson

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["DELAYS", "label_report", "matured"]

Array = npt.NDArray[Any]

DELAYS = (
    ("1 min", 1.0), ("5 min", 5.0), ("15 min", 15.0), ("30 min", 30.0), ("1 h", 60.0), ("6 h", 360.0), ("1 day", 1440.0),
    ("3 days", 4320.0), ("7 days", 10_080.0),
)  # fmt: skip
"""Name and length, in minutes, of the delays after which labels are looked at."""

_MINUTE_US = 60e6
_ABANDONED = 1 + CATEGORIES.index("user_abandonment")
_UNCLASSIFIED = 5
_IMPLAUSIBLE = 0.7  # share of the declines with one code
_TIMES_OTHERS = 2.0  # and how many times the share of that code with the others
_FEWEST = 50  # declines; with fewer, one code may be chance
_MOST_WARNINGS = 20


def matured(rows: Rows, mature_us: int) -> tuple[Array, Array]:
    """Outcomes that are final, −1 for the others; and when each was final, microseconds, PENDING where it is not.

    An abandonment is final once `mature_us` have gone by since the attempt began: who seemed to have left may have come back.
    At the end of the data no attempt younger than that is final: of those, only what is quick to become known is known, and
    success is quicker than giving up.
    """
    if not mature_us or not len(rows):
        return rows.outcome, np.where(rows.outcome >= 0, rows.resolved, PENDING)
    known = (rows.outcome >= 0) & (rows.resolved != PENDING)
    final = np.where((rows.outcome == _ABANDONED) & known, rows.created + mature_us, 0)
    final = np.where(known, np.maximum(final, rows.resolved), PENDING)
    end = max(int(rows.created.max()), int(rows.resolved[known].max()) if known.any() else 0)
    young = (rows.created > end - mature_us) | (final > end)
    # Some tables tell no time of the outcome: what they tell has always been known
    timeless = (rows.outcome >= 0) & (rows.resolved == PENDING)
    outcome = np.where(young & ~timeless, -1, rows.outcome)
    return outcome, np.where(outcome >= 0, final, PENDING)


def label_report(table: pd.DataFrame, rows: Rows, mature_minutes: float) -> dict[str, Any]:
    """How labels move as they mature, and warnings of labels that cannot be believed; for JSON.

    `moving`: of the attempts old enough to tell, after each delay the share that is resolved and, of those, the share that
    failed, with its 95 % interval (Wilson), and the number of attempts. `warnings` are sentences.
    """
    end = int(rows.created.max())
    known = (rows.outcome >= 0) & (rows.resolved != PENDING)
    if known.any():
        end = max(end, int(rows.resolved[known].max()))
    delay = np.where(known, rows.resolved - rows.created, 0) / _MINUTE_US
    moving = []
    for name, minutes in DELAYS:
        old = rows.created <= end - minutes * _MINUTE_US
        told = old & known & (delay <= minutes)
        if not old.any():
            continue
        failed, n = int((rows.outcome[told] != 0).sum()), int(told.sum())
        share = wilson(failed, n)
        moving.append(
            {
                "delay": name, "minutes": minutes, "attempts": int(old.sum()), "resolved": n / int(old.sum()),
                "failed": share.value if n else None, "low": share.low if n else None, "high": share.high if n else None, "n": n,
            }
        )  # fmt: skip
    hasty = int((known & (rows.outcome == _ABANDONED) & (delay < mature_minutes)).sum())
    failures = int((rows.outcome > 0).sum())
    unexplained = int((rows.outcome == _UNCLASSIFIED).sum())
    return {
        "attempts": len(rows),
        "pending": int((rows.outcome < 0).sum()),
        "without_time": int(((rows.outcome >= 0) & (rows.resolved == PENDING)).sum()),
        "failures": failures,
        "unclassified": unexplained,
        "abandonment_told_early": hasty,
        "mature_minutes": mature_minutes,
        "moving": moving,
        "warnings": [
            *_general(failures, unexplained, hasty, int((rows.outcome == _ABANDONED).sum()), mature_minutes),
            *_implausible(table, rows),
        ],
    }


def _general(failures: int, unexplained: int, hasty: int, abandoned: int, mature_minutes: float) -> list[str]:
    said = []
    if failures and unexplained / failures > 0.5:
        said.append(f"{unexplained:,} of {failures:,} failures are unclassified: they teach whether, not why")
    if abandoned and hasty / abandoned > 0.05:
        said.append(
            f"{hasty:,} of {abandoned:,} abandonments were told sooner than {mature_minutes:g} minutes after the attempt began: "
            "some of these customers may have come back"
        )
    return said


def _implausible(table: pd.DataFrame, rows: Rows) -> list[str]:
    """Issuers and processors that give one code for most of their declines, where the others do not."""
    import pandas as pd

    if "response_code" not in table:
        return []
    declined = (rows.outcome == 1 + CATEGORIES.index("bank_decline")) & table["response_code"].notna().to_numpy()
    if declined.sum() < 2 * _FEWEST:
        return []
    said = []
    code = table["response_code"].astype(object)[declined]
    scheme = table["code_scheme"].astype(object)[declined] if "code_scheme" in table else code.map(lambda _: "")
    for name, spoken in (("issuer", "issuer"), ("route", "processor")):
        if name not in table:
            continue
        who = table[name].astype(object)[declined]
        # Codes mean what their scheme says: those of another scheme are no comparison
        frame = pd.DataFrame({"who": who, "scheme": scheme.fillna(""), "code": code}).dropna()
        counts = frame.groupby(["scheme", "who", "code"]).size()
        by_who = counts.groupby(level=["scheme", "who"]).transform("sum")
        by_code = counts.groupby(level=["scheme", "code"]).transform("sum")
        overall = counts.groupby(level="scheme").transform("sum")
        suspect = counts[counts / by_who >= _IMPLAUSIBLE]
        for key, n in zip(suspect.index.tolist(), suspect.tolist(), strict=True):
            where, one, told = key
            mine, others = int(by_who[key]), int(overall[key] - by_who[key])
            if mine < _FEWEST or others < _FEWEST:
                continue
            rest = int(by_code[key] - n) / others
            here = wilson(int(n), mine)
            if here.low > max(_TIMES_OTHERS * rest, rest + 0.1):
                where_told = f" ({where})" if where else ""
                text = (
                    f"{spoken} {one!r} gives code {told!r}{where_told} for {n / mine:.0%} of its {mine:,} declines "
                    f"[{here.low:.0%}, {here.high:.0%}], the others for {rest:.0%} of {others:,}: its codes may not say why"
                )
                said.append((n / mine - rest, text))
    return [text for _, text in sorted(said, key=lambda one: -one[0])[:_MOST_WARNINGS]]
