"""The loader: which samples make up a batch, and a ring of buffers that threads fill ahead of the training loop.

`BatchPlan` is a pure function of (seed, epoch, batch): neither threads, ranks, history nor global random state change
which samples a batch holds, so a run can be resumed at any batch and on another number of devices. `RingLoader` brings
the batches of one rank: its threads fill the next ones while the caller works on the last one, in buffers that are used
again as soon as nobody holds a tensor of them.
"""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol, runtime_checkable
from weakref import ref

import numpy as np
import torch
from jaxtyping import Float32, Int64

from pose_lightning.errors import UserError

Buffers = dict[str, np.ndarray]


class LoaderError(RuntimeError):
    """A sample could not be loaded; the message names it, and the cause is chained."""


@runtime_checkable
class Source(Protocol):
    """How one sample gets into a batch."""

    def __len__(self) -> int: ...

    def allocate(self, size: int) -> Buffers:
        """The buffers of a batch of `size` samples: field name -> array (size, ...), of any content."""

    def fill(self, buffers: Buffers, position: int, index: int, epoch: int) -> None:
        """Write sample `index` into row `position` of every buffer, all of it: the row holds an older sample.

        Called in several threads at once, each with its own row. Randomness depends on (seed, epoch, index) alone.
        """

    def name(self, index: int) -> str:
        """The sample's name, for error messages."""

    def totals(self, indices: Int64[np.ndarray, " n"]) -> dict[str, float]:
        """Counts over a *global* batch, by which a loss over unequal parts is divided; e.g. `{"labelled": 113.0}`."""


@dataclass(frozen=True)
class BatchPlan:
    """Which samples each batch of each epoch holds.

    Attributes:
        length: Number of samples of an epoch; sample indices are below it.
        batch_size: Samples of a global batch, over all ranks and accumulation steps. The last batch of an epoch holds
            what is left.
        seed: From 0 to 2^64 - 1.
        shuffle: Draw a new order every epoch; otherwise samples come by index.

    Raises:
        UserError: If there is no sample, no room in a batch, or the seed is out of range.
    """

    length: int
    batch_size: int
    seed: int
    shuffle: bool

    def __post_init__(self) -> None:
        if self.length < 1:
            raise UserError(f"{self.length} samples to load; at least 1 is needed")
        if self.batch_size < 1:
            raise UserError(f"batch_size {self.batch_size}; at least 1 is needed")
        if not 0 <= self.seed < 2**64:
            raise UserError(f"seed {self.seed} is not in 0 to 2^64 - 1")

    @property
    def batches(self) -> int:
        """Global batches per epoch, the last partial one included."""
        return -(-self.length // self.batch_size)

    def order(self, epoch: int) -> Int64[np.ndarray, " n"]:
        """All sample indices in the epoch's order; read-only."""
        return _order(self.length, self.seed if self.shuffle else None, epoch)

    def batch(self, epoch: int, i: int) -> Int64[np.ndarray, " b"]:
        """Indices of the samples of global batch `i` of the epoch."""
        if not 0 <= i < self.batches:
            raise IndexError(f"batch {i} of {self.batches}")
        return self.order(epoch)[i * self.batch_size : (i + 1) * self.batch_size]

    def share(
        self, epoch: int, i: int, part: int, parts: int
    ) -> tuple[Int64[np.ndarray, " s"], Float32[np.ndarray, " s"]]:
        """Indices and weights of one of `parts` shares of a global batch.

        Shares differ by at most one sample. A share is never empty, so that every rank takes part in every step: one
        that has no sample repeats the batch's first with weight 0; all other weights are 1.
        """
        batch = self.batch(epoch, i)
        size, larger = divmod(len(batch), parts)
        start = part * size + min(part, larger)
        share = batch[start : start + size + (part < larger)]
        if len(share):
            return share, np.ones(len(share), np.float32)
        return batch[:1], np.zeros(1, np.float32)


@lru_cache(maxsize=4)
def _order(length: int, seed: int | None, epoch: int) -> np.ndarray:
    if seed is None:
        order = np.arange(length)
    else:
        # numpy promises that a bit generator's raw stream never changes; of `permutation` it does not.
        keys = np.random.Philox(key=np.array([seed, epoch], np.uint64)).random_raw(length)
        order = np.argsort(keys, kind="stable")
    order.flags.writeable = False
    return order


@dataclass
class _Batch:
    """A batch that is being filled."""

    epoch: int
    indices: np.ndarray
    weights: np.ndarray
    totals: dict[str, float]
    buffers: Buffers
    tasks: list[Future[None]]


class _Pool:
    """The buffers of a ring. Lent ones come back when neither an array nor a tensor of them is alive."""

    def __init__(self, source: Source, size: int) -> None:
        self._source, self._size = source, size
        self._free: list[Buffers] = []
        self._lent: list[tuple[Buffers, list[ref[np.ndarray]]]] = []

    @property
    def lent(self) -> int:
        return len(self._lent)

    def reclaim(self) -> None:
        """Take back what nobody holds any more."""
        lent, self._lent = self._lent, []
        for buffers, views in lent:
            if any(view() is not None for view in views):
                self._lent.append((buffers, views))
            else:
                self._free.append(buffers)

    def take(self) -> Buffers:
        return self._free.pop() if self._free else self._source.allocate(self._size)

    def lend(self, buffers: Buffers, rows: int) -> dict[str, torch.Tensor]:
        """Tensors of the first rows. Each keeps alive the view that it was made from, and so do its own views."""
        views = {field: buffer[:rows] for field, buffer in buffers.items()}
        self._lent.append((buffers, [ref(view) for view in views.values()]))
        return {field: torch.from_numpy(view) for field, view in views.items()}


class RingLoader:
    """The batches of one rank, filled ahead by threads.

    Every batch is a dict: the source's fields (b, ...); `index` int64 (b,), the samples' indices; `weight` float32
    (b,), 1, or 0 for a sample that only fills an empty share; `epoch`, an int; and, 0-d float32, `total_samples` and
    `total_<key>` for each of the source's totals, all of the *global* batch. What is in them depends neither on
    `num_threads` nor on `depth`.

    An iterator starts at `position()`, asked at its first `next()` (a run that is being resumed knows it only then),
    and ends with the epoch. It joins its threads and gives up its buffers when it ends, fails, or is dropped.

    Args:
        source: Where samples come from.
        plan: Which samples a batch holds.
        position: Returns the epoch and the first of this rank's batches to deliver; by default epoch 0 from its start.
        rank: This process's number among `world_size`, which share each global batch.
        world_size: Number of processes.
        accumulate: Into how many consecutive batches of one rank a global batch is cut.
        num_threads: Threads that fill batches; 0 fills them in the caller's thread.
        depth: Batches in memory, including the one that the caller works on. More only if the caller keeps more.

    Raises:
        StoreError: While iterating: if a sample is damaged.
        LoaderError: While iterating: if a sample fails for another reason.
    """

    def __init__(
        self,
        source: Source,
        plan: BatchPlan,
        *,
        position: Callable[[], tuple[int, int]] = lambda: (0, 0),
        rank: int = 0,
        world_size: int = 1,
        accumulate: int = 1,
        num_threads: int = 2,
        depth: int = 3,
    ) -> None:
        if num_threads < 0 or depth < 1:
            raise UserError(f"num_threads {num_threads} and ring depth {depth}; at least 0 and 1 are needed")
        self.source, self.plan, self.position = source, plan, position
        self.rank, self.world_size, self.accumulate = rank, world_size, accumulate
        self.num_threads, self.depth = num_threads, depth

    def __len__(self) -> int:
        return self.plan.batches * self.accumulate

    def __iter__(self) -> Iterator[dict[str, Any]]:
        epoch, upcoming = self.position()
        pool = _Pool(self.source, -(-min(self.plan.batch_size, self.plan.length) // self._parts))
        threads = ThreadPoolExecutor(self.num_threads, "ring") if self.num_threads else _InCaller()
        filling: deque[_Batch] = deque()
        try:
            while filling or upcoming < len(self):
                pool.reclaim()
                while upcoming < len(self) and (not filling or self._is_room(len(filling), pool.lent)):
                    filling.append(self._start(threads, pool.take(), epoch, upcoming))
                    upcoming += 1
                if upcoming == len(self):
                    threads.shutdown(wait=False)  # a paused iterator, as during validation, keeps no thread
                for task in filling[0].tasks:
                    task.result()
                yield _deliver(filling.popleft(), pool)
        finally:
            threads.shutdown(wait=True, cancel_futures=True)

    def state_dict(self) -> dict[str, Any]:
        """Nothing: `position` says where to go on. For Lightning, having this method is being able to resume."""
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Nothing to load, as there is nothing to save."""

    @property
    def _parts(self) -> int:
        return self.world_size * self.accumulate

    def _is_room(self, filling: int, lent: int) -> bool:
        """Whether to fill one more batch ahead; without threads that would only make the caller wait longer."""
        return self.num_threads > 0 and filling + lent < self.depth

    def _start(self, threads: Executor, buffers: Buffers, epoch: int, number: int) -> _Batch:
        """Have the rank's batch `number` filled into `buffers`."""
        i, turn = divmod(number, self.accumulate)
        indices, weights = self.plan.share(epoch, i, turn * self.world_size + self.rank, self._parts)
        whole = self.plan.batch(epoch, i)
        totals = {"samples": float(len(whole)), **self.source.totals(whole)}
        # One task per thread, as handing over a task costs as much as reading a small sample.
        step = -(-len(indices) // max(1, self.num_threads))
        tasks = [
            threads.submit(self._fill, buffers, range(first, min(first + step, len(indices))), indices, epoch)
            for first in range(0, len(indices), step)
        ]
        return _Batch(epoch, indices, weights, totals, buffers, tasks)

    def _fill(self, buffers: Buffers, positions: range, indices: np.ndarray, epoch: int) -> None:
        for position in positions:
            index = int(indices[position])
            try:
                self.source.fill(buffers, position, index, epoch)
            except UserError as error:
                error.add_note(f"while loading sample {index} ({self.source.name(index)!r}) of epoch {epoch}")
                raise
            except Exception as error:
                name = self.source.name(index)
                kind = type(error).__name__
                raise LoaderError(f"sample {index} ({name!r}) of epoch {epoch}: {kind}: {error}") from error


class _InCaller(Executor):
    """Runs every task at once, in the thread that submits it."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


def _deliver(batch: _Batch, pool: _Pool) -> dict[str, Any]:
    """The batch as the caller sees it. Nothing else may refer to its tensors, or its buffers never come back."""
    return {
        **pool.lend(batch.buffers, len(batch.indices)),
        "index": torch.from_numpy(batch.indices.copy()),  # the plan's are read-only
        "weight": torch.from_numpy(batch.weights),
        "epoch": batch.epoch,
        **{f"total_{key}": torch.tensor(total, dtype=torch.float32) for key, total in batch.totals.items()},
    }
