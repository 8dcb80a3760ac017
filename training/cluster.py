"""A table across the workers of a Dask cluster: read in batches, then parted by customer, each part with what the others show.

A customer's attempts, and a payment's, are in one part, so that their past is whole there. The rates of issuers, routes,
methods and ways count everybody's outcomes: every part replays those of the others, fifty bytes each, in the one order in which
they became known. Thus each part's features are those of the whole table, bit for bit (`features.others`). Whatever a worker
that dies held, Dask computes again from the files.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from features.attempt_batches import Batch, Seen, batches_of, check_together, joined, read_batch
from features.attempts import read_attempts
from features.columns import Column
from features.errors import BadInput
from features.others import Apart, Others

if TYPE_CHECKING:
    import pandas as pd

    from features.mapping import Mapping
    from training.train import Tell

__all__ = ["Parted", "connected", "owners_of", "scan"]

Array = npt.NDArray[Any]

_ROWS_OF_A_PART = 2_000_000
"""At most. Each part replays the others' outcomes, so that few are better; a worker has to have room for some of them at once."""


@contextlib.contextmanager
def connected(scheduler: str | None, tell: Tell) -> Iterator[Any]:
    """A client of the cluster at an address (`tcp://host:8786`), or of one made here, with a worker for each core.

    Raises BadInput if nobody answers there, or if Dask is not installed.
    """
    try:
        from dask.distributed import Client, LocalCluster
    except ImportError:
        raise BadInput("--engine", message="dask is not installed; pip install 'payrescue[dask]'") from None
    if scheduler is None:
        tell(f"a Dask cluster of {os.cpu_count()} workers on this machine")
        with (
            LocalCluster(n_workers=os.cpu_count(), threads_per_worker=1, dashboard_address="127.0.0.1:0") as cluster,
            Client(cluster) as client,
        ):
            yield client
        return
    try:
        client = Client(scheduler, timeout="30s")
    except (OSError, ValueError):
        allowed = "the address of a Dask scheduler that answers, such as tcp://host:8786"
        raise BadInput("--scheduler", message=f"{scheduler!r}: want {allowed}") from None
    with client:
        tell(f"a Dask cluster of {len(client.ncores())} workers at {scheduler}")
        yield client


@dataclass(frozen=True)
class Parted:
    """A checked table on the workers: its batches, in their order, which part each row is in, and what all have seen.

    `parts` (n,) holds numbers below `n_parts`; `seen` is of each batch. `begun` is when its first attempt began. The tables stay
    on the workers until they were parted.
    """

    client: Any
    batches: Sequence[Batch]
    seen: Sequence[Seen]
    parts: Array
    n_parts: int
    begun: int
    _read: Callable[[Batch], Any]
    _tables: list[Any]

    def __len__(self) -> int:
        return len(self.parts)

    @property
    def tables(self) -> Sequence[Any]:
        """Futures of the batches' tables; read again where they were parted before."""
        if not self._tables:
            self._tables.extend(map(self._read, self.batches))
        return self._tables

    def of_each_part(self, work: Any, *args: Any, **named: Any) -> list[Any]:
        """Futures of `work(table, apart, *args)` on every part.

        The workers forget all that leads there once it is used, to have room for what is made of it; of what one held that
        dies, Dask reads the tables again.
        """
        submit = partial(self.client.submit, pure=False)
        firsts = np.cumsum([0, *map(len, self.batches)]).tolist()
        splits = [
            submit(_split_up, table, self.parts[first:after], self.n_parts, first)
            for table, (first, after) in zip(self.tables, pairwise(firsts), strict=True)
        ]
        others = submit(_together, [submit(_others_of, one) for one in splits])
        made = []
        for p in range(self.n_parts):
            pieces = [submit(_piece, split, p) for split in splits]
            made.append(submit(_on_part, p, pieces, others, self.begun, work, args, named))
        self._tables.clear()
        return made


def scan(
    client: Any,
    sources: Sequence[str],
    mapping: Mapping | None,
    *,
    now: datetime,
    for_training: bool = False,
    extra: Sequence[Column] = (),
    rows: int = 250_000,
) -> Parted:
    """Have Parquet sources read and checked by the workers, one after another, and parted. Workers have to see the files.

    Raises BadInput for whatever is wrong with them.
    """
    batches: list[Batch] = []
    for source in sources:
        found = batches_of(source, rows)
        if not found:
            if source.endswith(".parquet"):
                read_attempts(source, now=now)  # says what is wrong with it
            raise BadInput(
                source, message="--engine dask reads a Parquet file, or a folder of them, that workers can see"
            )
        batches += found
    if mapping is not None and mapping.payments is not None:
        raise BadInput(mapping.name, message="payments: --engine dask wants payment_id in the data, or in the mapping")
    submit = partial(client.submit, pure=False)
    read = partial(submit, read_batch, mapping=mapping, now=now, for_training=for_training, extra=extra)
    tables = [read(batch) for batch in batches]
    told = [submit(_told, batch, table) for batch, table in zip(batches, tables, strict=True)]
    gathered = client.gather(told)
    seen = [one for one, _ in gathered]
    for source in sources:
        check_together([one for one in seen if one.batch.source == source], for_training=for_training)
    workers = max(len(client.ncores()), 1)
    n_parts = workers * max(-(-sum(map(len, batches)) // (workers * _ROWS_OF_A_PART)), 1)  # as many for each
    begun = min(at for _, at in gathered)
    return Parted(client, batches, seen, _parts(seen, n_parts), n_parts, begun, read, tables)


def owners_of(seen: Sequence[Seen]) -> Array:
    """Whose each attempt is, uint64 (n,): the same number for all attempts of a customer, and for all of a payment.

    Where a payment was tried by several customers, they become one owner.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    owner = np.concatenate([one.owner for one in seen])
    payment = np.concatenate([one.payment for one in seen])
    order = np.argsort(payment, kind="stable")
    crossing = (payment[order[1:]] == payment[order[:-1]]) & (owner[order[1:]] != owner[order[:-1]])
    if not crossing.any():
        return owner
    some, places = np.unique(
        np.concatenate([owner[order[1:][crossing]], owner[order[:-1][crossing]]]), return_inverse=True
    )
    a, b = np.split(places, 2)
    _, group = connected_components(coo_array((np.ones(len(a)), (a, b)), shape=(len(some), len(some))), directed=False)
    first = np.full(int(group.max()) + 1, np.iinfo(np.uint64).max, np.uint64)
    np.minimum.at(first, group, some)
    place = np.minimum(np.searchsorted(some, owner), len(some) - 1)
    owners: Array = np.where(some[place] == owner, first[group[place]], owner)
    return owners


def _parts(seen: Sequence[Seen], n_parts: int) -> Array:
    parts: Array = (owners_of(seen) % np.uint64(n_parts)).astype(np.uint16)
    return parts


def _told(batch: Batch, table: pd.DataFrame) -> tuple[Seen, int]:
    return Seen.of(batch, table), int(table["created_at"].min().value // 1000)


@dataclass(frozen=True)
class _Split:
    """A batch by part, with the places of its rows in the whole table; and what other parts need of it, with its parts."""

    pieces: Sequence[tuple[pd.DataFrame, Array]]
    others: Others
    parts: Array


def _split_up(table: pd.DataFrame, parts: Array, n_parts: int, first: int) -> _Split:
    pieces = []
    for p in range(n_parts):
        places = np.flatnonzero(parts == p)
        pieces.append((table.iloc[places].reset_index(drop=True), first + places))
    others = Others.of(table, first)
    return _Split(pieces, others, parts[others.position - first])


def _piece(split: _Split, p: int) -> tuple[pd.DataFrame, Array]:
    return split.pieces[p]


def _others_of(split: _Split) -> tuple[Others, Array]:
    return split.others, split.parts


def _together(found: Sequence[tuple[Others, Array]]) -> tuple[Others, Array]:
    return Others.joined([others for others, _ in found]), np.concatenate([parts for _, parts in found])


def _table_in_part(pieces: Sequence[tuple[pd.DataFrame, Array]]) -> tuple[pd.DataFrame, Array]:
    """Pieces of a part as one table, and the places of its rows in the whole one."""
    return joined([table for table, _ in pieces]), np.concatenate([places for _, places in pieces])


def _on_part(
    p: int, pieces: Any, others: tuple[Others, Array], begun: int, work: Any, args: Sequence[Any], named: dict[str, Any]
) -> Any:
    table, position = _table_in_part(pieces)
    everybody, parts = others
    return work(table, Apart(everybody.only(parts != p), position, begun), *args, **named)
