import gc
import os
import re
import threading
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal

from pose_lightning.errors import UserError
from pose_lightning.loader import BatchPlan, LoaderError, RingLoader
from pose_lightning.store import Store, StoreError, StoreWriter

LENGTH, SHAPE = 23, (32, 32, 3)


def picture(index: int) -> np.ndarray:
    return np.random.default_rng(index).integers(0, 256, SHAPE, np.uint8)


class Pictures:
    """A source of pixels from a store, and of noise that depends on (epoch, index)."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.allocated = 0
        self.threads: set[int] = set()

    def __len__(self) -> int:
        return len(self.store)

    def allocate(self, size: int) -> dict[str, np.ndarray]:
        self.allocated += 1
        return {"image": np.empty((size, *SHAPE), np.uint8), "noise": np.empty((size, 2), np.float32)}

    def fill(self, buffers: dict[str, np.ndarray], position: int, index: int, epoch: int) -> None:
        self.threads.add(threading.get_ident())
        self.store.read_into(index, buffers["image"][position])
        buffers["noise"][position] = np.random.default_rng([epoch, index]).normal(size=2)

    def name(self, index: int) -> str:
        return self.store.name(index)

    def totals(self, indices: np.ndarray) -> dict[str, float]:
        return {"index": float(indices.sum())}


class Failing(Pictures):
    def fill(self, buffers: dict[str, np.ndarray], position: int, index: int, epoch: int) -> None:
        super().fill(buffers, position, index, epoch)
        if index in (7, 13):
            raise ZeroDivisionError("no scale")


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pictures") / "train.h5"
    with StoreWriter(path, codec="raw", attrs={}, shape=SHAPE) as writer:
        for index in range(LENGTH):
            writer.append(picture(index), {"name": f"picture {index}"})
    return path


@pytest.fixture
def source(path: Path) -> Iterator[Pictures]:
    with Store(path) as store:
        yield Pictures(store)


def plan(batch_size: int = 6, seed: int = 3, shuffle: bool = True) -> BatchPlan:
    return BatchPlan(LENGTH, batch_size, seed, shuffle)


def ring_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("ring")]


def test_an_epoch_is_a_permutation_cut_into_batches_with_the_last_one_kept() -> None:
    batches = [plan().batch(5, i) for i in range(plan().batches)]
    assert [len(batch) for batch in batches] == [6, 6, 6, 5]
    assert sorted(np.concatenate(batches)) == list(range(LENGTH))
    assert_array_equal(np.concatenate(batches), plan().order(5))


def test_the_order_follows_from_seed_and_epoch_alone() -> None:
    # By hand, from the raw 64-bit stream of Philox4x64-10 under key (seed, epoch), which numpy keeps for ever.
    keys = np.random.Philox(key=[3, 5]).random_raw(LENGTH)
    assert plan().order(5).tolist() == sorted(range(LENGTH), key=lambda index: keys[index])
    np.random.seed(1)  # noqa: NPY002  # global state must not matter
    assert_array_equal(plan().order(5), plan().order(5))
    orders = {tuple(plan(seed=seed).order(epoch)) for seed in (0, 3, 2**64 - 1) for epoch in range(20)}
    assert len(orders) == 60


def test_the_order_is_fixed_for_all_time() -> None:
    assert BatchPlan(8, 4, 1, shuffle=True).order(0).tolist() == [3, 5, 2, 7, 0, 6, 1, 4]  # else all seeds lose meaning


def test_unshuffled_samples_come_by_index_in_every_epoch() -> None:
    assert plan(shuffle=False).order(0).tolist() == plan(shuffle=False).order(9).tolist() == list(range(LENGTH))


@pytest.mark.parametrize("parts", [1, 2, 3, 4, 6, 8])
def test_shares_join_to_the_batch_and_differ_by_one_sample(parts: int) -> None:
    for batch in range(4):
        shares = [plan().share(2, batch, part, parts) for part in range(parts)]
        assert_array_equal(
            np.concatenate([indices[weights > 0] for indices, weights in shares]), plan().batch(2, batch)
        )
        sizes = [int(weights.sum()) for _, weights in shares]
        assert max(sizes) - min(sizes) <= 1
        assert [len(indices) for indices, _ in shares] == [max(1, size) for size in sizes]


def test_a_part_without_a_sample_gets_one_of_weight_zero() -> None:
    indices, weights = BatchPlan(7, 6, 0, shuffle=False).share(0, 1, part=1, parts=2)
    assert (indices.tolist(), weights.tolist()) == ([6], [0.0])


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [((0, 6, 0), "0 samples"), ((9, 0, 0), "batch_size 0"), ((9, 6, -1), "seed -1"), ((9, 6, 2**64), "seed 1844")],
)
def test_a_plan_that_cannot_be_is_refused(arguments: tuple[int, int, int], reason: str) -> None:
    with pytest.raises(UserError, match=reason):
        BatchPlan(*arguments, shuffle=True)


def test_a_batch_beyond_the_epoch_is_an_error() -> None:
    with pytest.raises(IndexError, match="batch 4 of 4"):
        plan().batch(0, 4)


def test_batches_hold_the_planned_samples_their_weights_and_the_global_totals(source: Pictures) -> None:
    batches = list(RingLoader(source, plan(), position=lambda: (2, 0)))
    for i, batch in enumerate(batches):
        indices = plan().batch(2, i)
        assert_array_equal(batch["index"], indices)
        assert_array_equal(batch["image"], np.stack([picture(index) for index in indices]))
        assert batch["weight"].tolist() == [1.0] * len(indices)
        assert (batch["total_samples"], batch["total_index"]) == (len(indices), indices.sum())
        assert batch["total_samples"].dtype == batch["weight"].dtype == torch.float32
        assert batch["epoch"] == 2


@pytest.mark.parametrize("num_threads", [0, 1, 2, 5])
@pytest.mark.parametrize("depth", [1, 2, 7])
def test_threads_and_depth_do_not_change_a_bit(source: Pictures, num_threads: int, depth: int) -> None:
    for reference, batch in zip(
        RingLoader(source, plan(), num_threads=0, depth=1),
        RingLoader(source, plan(), num_threads=num_threads, depth=depth),
        strict=True,
    ):
        assert reference.keys() == batch.keys()
        assert all(torch.equal(torch.as_tensor(reference[key]), torch.as_tensor(batch[key])) for key in reference)


def test_all_batches_of_a_list_stay_what_they_were(source: Pictures) -> None:
    for batch in list(RingLoader(source, plan(batch_size=2), depth=2)):
        assert_array_equal(batch["image"], np.stack([picture(index) for index in batch["index"].tolist()]))


def test_a_tensor_that_somebody_keeps_is_never_written_again(source: Pictures) -> None:
    kept = []
    for batch in RingLoader(source, plan(batch_size=2), depth=2):
        kept.append((batch["index"][-1].item(), batch["image"][-1].view(-1)))  # a view of a view, the rest is let go
    for index, pixels in kept:
        assert_array_equal(pixels, picture(index).ravel())


def test_a_ring_allocates_no_more_than_its_depth(source: Pictures) -> None:
    for _ in RingLoader(source, plan(batch_size=1), depth=3):
        pass
    assert source.allocated <= 3


def test_memory_grows_by_the_bytes_of_the_ring(path: Path) -> None:
    class Large(Pictures):
        def allocate(self, size: int) -> dict[str, np.ndarray]:
            return super().allocate(size) | {"large": np.zeros((size, 1_000_000), np.uint8)}

    with Store(path) as store:
        loader = RingLoader(Large(store), plan(batch_size=2), depth=3)
        tracemalloc.start()
        for _ in loader:
            pass
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    ring = 3 * 2 * (1_000_000 + picture(0).nbytes)
    assert ring < peak < ring + 500_000


def test_ranks_and_accumulation_share_the_global_batch(source: Pictures) -> None:
    ranks = [
        list(RingLoader(source, plan(batch_size=4), rank=rank, world_size=2, accumulate=2, num_threads=1))
        for rank in range(2)
    ]
    assert len(ranks[0]) == len(ranks[1]) == len(RingLoader(source, plan(4), world_size=2, accumulate=2)) == 12
    for i in range(6):
        parts = [ranks[rank][2 * i + turn] for turn in range(2) for rank in range(2)]
        counted = torch.cat([part["index"][part["weight"] > 0] for part in parts])
        assert_array_equal(counted, plan(batch_size=4).batch(0, i))
        assert {part["total_samples"].item() for part in parts} == {len(counted)}
        assert {part["total_index"].item() for part in parts} == {counted.sum().item()}
    assert ranks[1][11]["weight"].tolist() == [0.0]  # 3 samples are left for 4 parts


def test_an_iterator_starts_where_its_position_is_at_the_first_batch(source: Pictures) -> None:
    position = (0, 0)
    loader = RingLoader(source, plan(), position=lambda: position)
    batches = iter(loader)
    position = (4, 2)  # known only once a checkpoint is loaded, after Lightning has made the iterator
    assert [batch["index"].tolist() for batch in batches] == [plan().batch(4, i).tolist() for i in (2, 3)]
    assert len(loader) == 4
    position = (5, 4)
    assert list(loader) == []


@pytest.mark.parametrize("num_threads", [0, 1, 3])
def test_a_failure_in_a_thread_names_the_sample_and_is_the_first_in_order(path: Path, num_threads: int) -> None:
    loader = RingLoader(Failing(Store(path)), plan(), num_threads=num_threads)
    order = plan().order(0).tolist()
    first = min((7, 13), key=order.index)
    got = []
    expected = rf"sample {first} \('picture {first}'\) of epoch 0: ZeroDivisionError: no scale"
    with pytest.raises(LoaderError, match=expected) as caught:
        got.extend(batch["index"] for batch in loader)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert len(got) == order.index(first) // 6  # the batches before it arrive
    assert not ring_threads()


def test_a_damaged_sample_stays_a_store_error(tmp_path: Path, path: Path) -> None:
    damaged = bytearray(path.read_bytes())
    damaged[damaged.index(picture(9).tobytes()) + 5] ^= 1
    (tmp_path / "damaged.h5").write_bytes(damaged)
    with Store(tmp_path / "damaged.h5") as store:
        loader = RingLoader(Pictures(store), plan())
        with pytest.raises(StoreError, match=r"damaged\.h5: sample 9 \('picture 9'\): its pixels"):
            list(loader)
    with Store(tmp_path / "damaged.h5", verify=False) as store:
        assert len(list(RingLoader(Pictures(store), plan()))) == 4


def test_a_loader_works_again_after_a_failure_and_an_early_break(path: Path) -> None:
    source = Failing(Store(path))
    loader = RingLoader(source, plan(batch_size=1))
    for _ in range(3):
        with pytest.raises(LoaderError):
            list(loader)
        for batch in loader:
            assert_array_equal(batch["image"][0], picture(int(batch["index"])))
            break


@pytest.mark.parametrize("num_threads", [0, 2])
def test_nothing_leaks_after_a_break_or_an_iterator_left_alone(path: Path, num_threads: int) -> None:
    def use(times: int) -> None:
        for _ in range(times):
            with Store(path) as store:
                loader = RingLoader(Pictures(store), plan(), num_threads=num_threads)
                for _batch in loader:
                    break
                abandoned = iter(loader)
                next(abandoned)
                del abandoned
                iter(loader)  # never started

    use(3)
    gc.collect()
    descriptors = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    tracemalloc.start()
    use(20)
    gc.collect()
    grown, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    batch_bytes = 6 * np.prod(SHAPE)
    assert grown < 3 * batch_bytes
    assert len(os.listdir("/proc/self/fd")) == descriptors  # noqa: PTH208
    assert not ring_threads()


def test_threads_end_before_the_last_batches_are_used_up(source: Pictures) -> None:
    batches = iter(RingLoader(source, plan(), num_threads=2))
    for _ in range(4):
        next(batches)
    for thread in ring_threads():  # Lightning keeps the iterator while it validates
        thread.join(timeout=5)
    assert not ring_threads()
    assert next(batches, None) is None


def test_all_threads_fill_the_same_batch(path: Path) -> None:
    meeting = threading.Barrier(3, timeout=20)

    class Waiting(Pictures):
        def fill(self, buffers: dict[str, np.ndarray], position: int, index: int, epoch: int) -> None:
            super().fill(buffers, position, index, epoch)
            meeting.wait()  # passes only if three samples of the one batch are filled at once

    source = Waiting(Store(path))
    assert len(next(iter(RingLoader(source, BatchPlan(3, 3, 0, shuffle=False), num_threads=3)))["index"]) == 3
    assert len(source.threads) == 3


def test_without_threads_the_caller_fills(source: Pictures) -> None:
    list(RingLoader(source, plan(), num_threads=0))
    assert source.threads == {threading.get_ident()}


def test_settings_that_cannot_be_are_refused(source: Pictures) -> None:
    for settings in ({"num_threads": -1}, {"depth": 0}):
        with pytest.raises(UserError, match=re.escape("at least 0 and 1")):
            RingLoader(source, plan(), **settings)
