"""The online state in Redis, for several workers or machines: the slots that moved since the artefact.

All of it lies under a namespace of the artefact (a hash of its past, its encoder and the features' definitions), so that two
models in service never mix. `at` tells the epoch, and up to which outcome of the log the state has come. Whoever follows the
log computes what a batch makes of the slots, with the kernel's arithmetic, and writes slots and `at` in one script only if
`at` still is what it read: so applying is atomic and needs no lock, nothing enters twice, and a crash leaves nothing half
done. A lost or damaged state is filled anew from the log under another epoch, so that leftovers never count.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np

from serving.known import OutcomeLog, never
from serving.redis_reads import RedisReads
from serving.state_declines import KEPT_US, added, credential_of, packed
from serving.state_fold import REMEMBERED_US, Base, Told, begins, digest_of, told_by
from serving.state_redis_past import SLOT, Damaged, Named, RedisPast, declines_in

if TYPE_CHECKING:
    from models.engine import Engine, ScoreRequest

__all__ = ["RedisState"]

_log = logging.getLogger("bentoml.payrescue")

_BATCH = 256  # outcomes in one script: some 2 ms in which Redis answers nobody else
_SLOT_S = 120 * 86_400  # four half-lives of what fades slowest
_ID_S, _DECLINES_S = REMEMBERED_US // 1_000_000, KEPT_US // 1_000_000
_FOLLOW_S = 2.0
_MISSES_IN_A_ROW = 3
_LEAVE_ALONE_S = 1.0
_AT: Named = ("at", "")

_WRITE = """
local at = redis.pcall('GET', KEYS[1])
if type(at) ~= 'string' then at = '' end
if at ~= ARGV[1] then return 0 end
for i = 2, #KEYS do redis.call('SET', KEYS[i], ARGV[2 * i], 'EX', ARGV[2 * i + 1]) end
redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[3])
return 1
"""


class RedisState:
    """The state of all workers that share a Redis and a log.

    A request reads what it looks at in one round trip, within `deadline_s`. Where that fails it looks back on what the
    artefact carries, which is counted in `misses`; after some misses in a row Redis is asked only once a second.
    """

    def __init__(self, url: str, log: OutcomeLog, base: Base | None, *, deadline_s: float) -> None:
        from redis import Redis
        from redis.backoff import NoBackoff
        from redis.retry import Retry

        self.seq = 0
        """Up to which outcome the log has entered, as last seen."""
        self.misses = 0
        """Requests that were answered without what is known now."""
        self._log, self._base, self._deadline_s = log, base, deadline_s
        self._until = base.history.until if base is not None else 0
        self._prefix = f"payrescue:{{{digest_of(base)}}}:"  # the braces keep it on one node of a cluster
        self._reads = RedisReads(url)
        self._redis: Any = Redis.from_url(
            url, socket_timeout=_FOLLOW_S, socket_connect_timeout=_FOLLOW_S, retry=Retry(NoBackoff(), 0)
        )
        self._write = self._redis.register_script(_WRITE)
        self._turn = Lock()
        self._epoch: str | None = None
        self._in_a_row = 0
        self._not_before = 0.0
        self._anew = False

    # What a request does: on the event loop

    async def past(self, request: ScoreRequest, engine: Engine) -> RedisPast:
        """What is known now of all that an answer looks at; what the artefact carries where Redis does not say in time."""
        epoch, now = self._epoch, time.monotonic()
        left_alone = self._in_a_row >= _MISSES_IN_A_ROW and now < self._not_before
        if left_alone or epoch is None:
            self.misses += 1
            return RedisPast(self._base, {}, missed=True)
        self._not_before = now + _LEAVE_ALONE_S  # while one asks whether Redis is back, the others do not
        try:
            names = self._names(request, engine)
            async with asyncio.timeout(self._deadline_s):
                values = await self._reads.mget([self._key(epoch, *name) for name in names])
            told = {name: value for name, value in zip(names, values, strict=True) if value is not None}
            found = RedisPast(self._base, told)
            found.check()
        except Damaged:
            self._anew = True
            found = None
        except Exception as error:  # whatever it is, the client gets an answer
            self._fails(error)
            found = None
        else:
            self._in_a_row = 0
            if told.get(_AT, b"").partition(b" ")[0] != epoch.encode():
                self._epoch = None  # until whoever follows the log has found or filled another
                found = None
        if found is None:
            self.misses += 1
            return RedisPast(self._base, {}, missed=True)
        return found

    def _fails(self, error: Exception) -> None:
        self._in_a_row += 1
        if self._in_a_row == _MISSES_IN_A_ROW:
            _log.warning(
                "the online state is not to be had (%s); answers use the model's own past", type(error).__name__
            )
        if self._in_a_row >= _MISSES_IN_A_ROW:
            self._reads.drop()

    @staticmethod
    def _names(request: ScoreRequest, engine: Engine) -> list[Named]:
        """What a request reads: kind and name."""
        attempt, previous = request.attempt, request.previous
        customer = {"customer_id": attempt.get("customer_id")}
        credentials = dict.fromkeys(credential_of({**customer, **one}) for one in (attempt, *previous))
        return [
            _AT,
            *(("s", name) for name in engine.slots_of(request)),
            *(("i", one["attempt_id"]) for one in previous if "attempt_id" in one),
            *(("c", credential) for credential in credentials if credential is not None),
        ]

    def _key(self, epoch: str, kind: str, name: str) -> bytes:
        return f"{self._prefix}{epoch}:{kind}:{name}".encode() if kind != "at" else f"{self._prefix}at".encode()

    # What follows the log: in a thread of its own

    def follow(self, ends: Callable[[], bool] = never) -> int:
        """Let in what the log has and the state has not, until it `ends`; returns how many outcomes entered from here."""
        entered = 0
        with self._turn:
            while not ends():
                at = self._redis.mget([self._key("", *_AT)])[0] or b""
                epoch, _, seq = at.decode("ascii", "replace").partition(" ")
                if self._anew or not (epoch and seq.isascii() and seq.isdigit()):
                    self._begin(at)
                    continue
                self._epoch, self.seq = epoch, int(seq)
                outcomes = self._log.after(self.seq, _BATCH)
                if not outcomes:
                    break
                try:
                    values = self._folded(epoch, told_by(outcomes, self._base, self._until))
                except Damaged:
                    self._anew = True
                    continue
                if self._swap(at, f"{epoch} {outcomes[-1].seq}", values):
                    entered += len(outcomes)
        return entered

    def _begin(self, at: bytes) -> None:
        """Start an epoch, in which nothing has entered yet."""
        _log.info("the online state in Redis is filled from the log")
        self._anew = False
        self._swap(at, f"{secrets.token_hex(4)} {begins(self._log, self._base)}", {})

    def _swap(self, at: bytes, then: str, values: Mapping[bytes, tuple[bytes, int]]) -> bool:
        """Write values, and that the state has come so far; only if it still stands where it did."""
        words = [word for value, seconds in values.values() for word in (value, seconds)]
        return bool(self._write([self._key("", *_AT), *values], [at, then, _SLOT_S, *words]))

    def _folded(self, epoch: str, told: Told) -> dict[bytes, tuple[bytes, int]]:
        """What is to be written for what some outcomes tell: value and seconds to keep it, by key."""
        values: dict[bytes, tuple[bytes, int]] = {}
        credentials = list(dict.fromkeys(credential for credential, _ in told.declines))
        kept = self._kept(epoch, "c", credentials)
        for credential, decline in told.declines:
            before = kept.get(credential)
            kept[credential] = added(declines_in(before) if isinstance(before, bytes) else before or (), decline)
        for credential in credentials:
            values[self._key(epoch, "c", credential)] = packed(kept[credential]), _DECLINES_S
        if told.rows is None or self._base is None:
            return values
        names = list(dict.fromkeys(name for _, every in told.rows.keys for name in every))
        moved = RedisPast(self._base, {("s", name): value for name, value in self._kept(epoch, "s", names).items()})
        moved.check()
        history = type(self._base.history)({name: i for i, name in enumerate(names)}, *moved.copies(names))
        history.enter(told.rows, np.arange(len(told.rows)), history.keys_of(told.rows))
        packs = np.empty(len(names), SLOT)
        packs["sums"], packs["time"], packs["streak"] = history.sums, history.times, history.streaks
        values |= {
            self._key(epoch, "s", name): (pack.tobytes(), _SLOT_S) for name, pack in zip(names, packs, strict=True)
        }
        oldest = int(told.rows.resolved.max()) - REMEMBERED_US
        for attempt_id, resolved in zip(told.ids, told.rows.resolved.tolist(), strict=True):
            if resolved > oldest:
                values[self._key(epoch, "i", attempt_id)] = b"", _ID_S
        return values

    def _kept(self, epoch: str, kind: str, names: Sequence[str]) -> dict[str, Any]:
        """What Redis has, by name."""
        if not names:
            return {}
        values = self._redis.mget([self._key(epoch, kind, name) for name in names])
        return {name: value for name, value in zip(names, values, strict=True) if value is not None}

    def latest(self) -> int:
        """Up to which outcome the log could tell it."""
        return self._log.latest()

    @property
    def reachable(self) -> bool:
        """Whether requests get from Redis what is known now."""
        return self._in_a_row < _MISSES_IN_A_ROW

    def keep(self) -> None:
        """Nothing is kept here: Redis has it."""

    def close(self) -> None:
        """End; on the event loop, if requests were answered."""
        self._reads.close()
        self._redis.close()
