"""What may be sent, by the models that answer: a merchant's own columns are read wherever one of them declares them."""

from __future__ import annotations

from collections.abc import Sequence

from features.columns import Column
from serving.outcomes import OutcomeReader
from serving.requests import RequestReader

__all__ = ["Readers"]


class Readers:
    """The readers of requests and outcomes; made anew when other columns are declared, as after a swap.

    >>> tier = Column("tier", "category", "", required=False, for_training=True, known="before", meaning="tier")
    >>> readers = Readers()
    >>> readers.requests((tier,)) is readers.requests((tier,)), [column.name for column in readers.requests((tier,)).extra]
    (True, ['tier'])
    """

    def __init__(self) -> None:
        self._made: tuple[RequestReader, OutcomeReader] = RequestReader().get_ready(), OutcomeReader()

    def requests(self, extra: Sequence[Column]) -> RequestReader:
        """The reader of `POST /v1/score` where these columns are declared."""
        return self._of(extra)[0]

    def outcomes(self, extra: Sequence[Column]) -> OutcomeReader:
        """The reader of `POST /v1/outcomes` where these columns are declared."""
        return self._of(extra)[1]

    def _of(self, extra: Sequence[Column]) -> tuple[RequestReader, OutcomeReader]:
        made = self._made
        if made[0].extra != extra:
            made = self._made = RequestReader(extra).get_ready(), OutcomeReader(extra)
        return made
