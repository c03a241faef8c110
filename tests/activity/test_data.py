"""From an activity store to the batches that the task sees."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from pose_lightning.activity.data import ActivityData
from pose_lightning.activity.framing import whole
from pose_lightning.activity.source import ActivitySource, balanced_draw
from pose_lightning.errors import UserError
from pose_lightning.loader import Source
from pose_lightning.store import Store

WriteStore = Callable[..., Path]

CATEGORIES = ("bicycling", "dancing", "sitting, at rest")
LABELS = ["dancing", "bicycling", "", "sitting, at rest", "dancing", "dancing", "bicycling", "dancing"]
NUMBERS = [1, 0, 2, 1, 1, 0, 1]  # of the seven that have one
TAGS = [[True, False], [False, False], [True, True], [False, True]]
SIZE = 24
CHANGING = {
    "rotation": 20.0,
    "zoom": 0.2,
    "flip": 0.5,
    "random_crop": 0.3,
    "color": 0.3,
    "rand_augment_ops": 2,
    "mixup": 0.8,
    "cutmix": 1.0,
}


@pytest.fixture(scope="module")
def root(write_activity_store: WriteStore, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("activity")
    write_activity_store(folder / "train.h5", LABELS, tags=(TAGS * 2))
    write_activity_store(folder / "val.h5", LABELS[:4], tags=TAGS, prefix="v")
    return folder


@pytest.fixture(scope="module")
def folded(write_activity_store: WriteStore, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("folded")
    write_activity_store(folder / "train.h5", LABELS, folds=[0, 1, 1, 2, 0, 1, 2, 2])
    return folder


def data(root: Path, batch_size: int = 4, **settings: Any) -> ActivityData:
    return ActivityData(root, batch_size, **{"input_size": SIZE, "num_threads": 0, "seed": 7} | settings)


def epoch(loader: Any) -> dict[str, Tensor]:
    """All batches of a loader, one after the other, finished."""
    batches = list(loader)
    return {key: torch.cat([batch[key] for batch in batches]) for key in ("image", "target", "label", "index")}


def test_pictures_can_be_larger_in_evaluation(root: Path) -> None:
    module = data(root, evaluation_size=2 * SIZE)
    assert epoch(module.train_dataloader())["image"].shape[1:3] == (SIZE, SIZE)
    shown = epoch(module.val_dataloader())["image"]
    assert shown.shape[1:3] == (2 * SIZE, 2 * SIZE)
    assert torch.equal(shown, epoch(data(root, input_size=2 * SIZE).val_dataloader())["image"])
    assert (module.input_size, module.evaluation_size) == (SIZE, 2 * SIZE)


def filled(source: ActivitySource, index: int, epoch: int) -> dict[str, np.ndarray]:
    buffers = source.allocate(1)
    source.fill(buffers, 0, index, epoch)
    return {key: value[0].copy() for key, value in buffers.items()}


def test_a_batch_holds_pictures_and_one_hot_targets(root: Path) -> None:
    module = data(root, batch_size=7)
    (raw,) = list(module.evaluation_loader("train"))
    batch = module.on_after_batch_transfer(raw, 0)
    assert batch["image"].shape == (7, 3, SIZE, SIZE)
    assert batch["image"].dtype == torch.float32
    assert 0 <= batch["image"].min() < 0.2
    assert 0.8 < batch["image"].max() <= 1
    assert batch["label"].tolist() == NUMBERS
    assert_close(batch["target"], torch.eye(3)[NUMBERS])
    assert batch["total_samples"] == 7


def test_the_source_is_one_that_loaders_take(root: Path) -> None:
    assert isinstance(data(root).source("train", augment=True), Source)


def test_pictures_without_a_label_are_left_out_everywhere_alike(root: Path) -> None:
    module = data(root)
    with module.samples("train") as served:
        names = [served.name(i) for i in range(len(served))]
    assert names == [f"{i:05}.jpg" for i in (0, 1, 3, 4, 5, 6, 7)]
    source = module.source("train", augment=False)
    assert [source.name(i) for i in range(len(source))] == names
    assert module.class_counts().tolist() == [2, 4, 1]
    assert module.training_length() == 7


def test_evaluation_shows_what_prepare_shows(root: Path) -> None:
    module = data(root, fit="crop", crop_share=0.8)
    images = epoch(module.evaluation_loader("val"))["image"]
    with Store(root / "val.h5") as store:
        for place, row in enumerate((0, 1, 3)):
            assert (images[place].numpy() == module.prepare(store.pixels(row))).all()


def test_activities_and_tags_are_targets_too(root: Path) -> None:
    module = data(root, target="activity")
    assert module.classes[2:4] == ["dancing 0", "dancing 1"]
    assert epoch(module.evaluation_loader("train"))["label"].tolist() == [2, 1, 5, 2, 3, 0, 3]
    tags = data(root, target="tags")
    found = epoch(tags.evaluation_loader("train"))
    known = [0, 1, 3, 4, 5, 6, 7]
    assert found["target"].tolist() == [[float(tag) for tag in (TAGS * 2)[i]] for i in known]
    assert found["label"].tolist() == [-1] * 7
    assert tags.class_counts().tolist() == [3, 3]


def test_training_without_changes_serves_the_pictures_themselves(root: Path) -> None:
    module = data(root)
    trained, plain = epoch(module.train_dataloader()), epoch(module.evaluation_loader("train"))
    assert sorted(trained["index"].tolist()) == list(range(7))
    assert trained["index"].tolist() != list(range(7))
    assert torch.equal(trained["image"], plain["image"][trained["index"]])
    assert torch.equal(trained["label"], plain["label"][trained["index"]])


def test_shuffling_can_be_switched_off(root: Path) -> None:
    assert epoch(data(root, shuffle=False).train_dataloader())["index"].tolist() == list(range(7))


def test_threads_batches_and_depth_do_not_change_a_sample(root: Path) -> None:
    found = []
    for settings in ({"num_threads": 0, "batch_size": 7}, {"num_threads": 3, "batch_size": 2, "ring_depth": 2}):
        batches = epoch(data(root, **(CHANGING | settings)).train_dataloader())
        order = batches["index"].argsort()
        found.append({key: value[order] for key, value in batches.items()})
    assert all(torch.equal(found[0][key], found[1][key]) for key in found[0])


def test_a_picture_changes_from_epoch_to_epoch_and_with_the_seed(root: Path) -> None:
    source = data(root, **CHANGING).source("train", augment=True)
    again = data(root, **CHANGING).source("train", augment=True)
    other = data(root, **(CHANGING | {"seed": 8}))
    first = filled(source, 0, 0)["image"]
    assert (first == filled(again, 0, 0)["image"]).all()
    assert (first != filled(source, 0, 1)["image"]).any()
    assert (first != filled(other.source("train", augment=True), 0, 0)["image"]).any()


def test_mirroring_mirrors_the_input(root: Path) -> None:
    plain = filled(data(root).source("train", augment=True), 0, 0)["image"]
    mirrored = filled(data(root, flip=1.0).source("train", augment=True), 0, 0)["image"]
    assert abs(plain[:, ::-1].astype(int) - mirrored).max() <= 1


def test_an_epoch_with_copies_holds_every_picture_as_it_is_and_changed(root: Path) -> None:
    module = data(root, append_augmented=True, batch_size=14, rotation=40.0, mixup=1.0)
    found, plain = epoch(module.train_dataloader()), epoch(module.evaluation_loader("train"))
    assert sorted(found["index"].tolist()) == list(range(14))
    for place, index in enumerate(found["index"].tolist()):
        same = torch.equal(found["image"][place], plain["image"][index % 7])
        assert same == (index < 7)
        if index < 7:
            assert torch.equal(found["target"][place], plain["target"][index])


def test_mixed_targets_are_the_shares_of_both_pictures(root: Path) -> None:
    source = data(root, mixup=1.0).source("train", augment=True)
    plain = data(root).source("train", augment=False)
    assert source.changes is not None
    for index in range(7):
        mix = source.changes.mixing.draw(7, 3, index, 7)
        assert mix is not None
        found, own, other = (filled(*case) for case in ((source, index, 3), (plain, index, 0), (plain, mix.partner, 0)))
        assert found["target"] == pytest.approx(mix.share * own["target"] + (1 - mix.share) * other["target"], abs=1e-6)
        wanted = mix.share * own["image"].astype(float) + (1 - mix.share) * other["image"]
        assert abs(found["image"] - wanted).max() <= 0.5 + 1e-4
        assert found["label"] == (own if mix.share >= 0.5 else other)["label"]


def test_the_picture_mixed_in_is_changed_as_it_is_in_that_epoch(root: Path) -> None:
    turned = data(root, rotation=40.0).source("train", augment=True)
    mixed = data(root, rotation=40.0, cutmix=1.0).source("train", augment=True)
    assert mixed.changes is not None
    for index in range(7):
        mix = mixed.changes.mixing.draw(7, 2, index, 7)
        assert mix is not None
        image, own, other = (
            filled(source, i, 2)["image"] for source, i in ((mixed, index), (turned, index), (turned, mix.partner))
        )
        assert ((image == own) | (image == other)).all(axis=2).all()


def test_balanced_sampling_draws_each_class_equally_often() -> None:
    labels = np.repeat([0, 2, 5], [900, 90, 10])
    drawn = np.concatenate([balanced_draw(labels, seed=1, epoch=epoch) for epoch in range(4)])
    counts = Counter(labels[drawn].tolist())
    assert set(counts) == {0, 2, 5}
    assert all(count == pytest.approx(4000 / 3, rel=0.1) for count in counts.values())
    assert len(set(drawn[labels[drawn] == 5].tolist())) == 10


def test_a_balanced_epoch_serves_its_draw(root: Path) -> None:
    module = data(root, sampling="balanced", shuffle=False)
    drawn = balanced_draw(np.array(NUMBERS), seed=7, epoch=0)
    assert epoch(module.train_dataloader())["label"].tolist() == [NUMBERS[i] for i in drawn]


def test_a_fold_validates_and_the_others_train(folded: Path) -> None:
    module = data(folded, fold=1)
    module.check()
    with module.samples("train") as train, module.samples("val") as val:
        assert [train.name(i)[4] for i in range(len(train))] == ["0", "3", "4", "6", "7"]
        assert [val.name(i)[4] for i in range(len(val))] == ["1", "5"]
    assert epoch(module.evaluation_loader("val"))["label"].tolist() == [0, 1]
    assert not module.same_samples("train", "val")
    assert module.same_samples("val", "val")
    assert module.store_path("val") == folded / "train.h5"
    assert module.state_dict()["fold"] == 1


def test_limited_samples_are_the_first_and_leave_evaluation_whole(root: Path) -> None:
    module = data(root, limit_samples=3, append_augmented=True)
    assert sorted(epoch(module.train_dataloader())["index"].tolist()) == list(range(6))
    assert len(epoch(module.evaluation_loader("train"))["index"]) == 7
    assert module.class_counts().tolist() == [1, 1, 1]


def test_the_store_is_as_synthetic_as_it_says(root: Path) -> None:
    assert data(root).synthetic
    assert data(root).classes == list(CATEGORIES)


@pytest.mark.parametrize("fit", ["crop", "squash", "pad"])
def test_prepare_centres_the_picture(fit: Any, root: Path) -> None:
    picture = np.zeros((40, 60, 3), np.uint8)
    picture[18:22, 28:32] = 255  # its middle
    shown = data(root, fit=fit).prepare(picture)
    y, x = np.nonzero(shown[..., 0] > 64)
    assert (y.mean(), x.mean()) == pytest.approx(((SIZE - 1) / 2,) * 2)
    assert whole(40, 60, fit=fit, share=1.0).left == {"crop": 10, "squash": 0, "pad": 0}[fit]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"fold": 0}, "has no folds"),
        ({"target": "tags", "sampling": "balanced"}, "one class per picture"),
        ({"sampling": "balanced", "append_augmented": True}, "append_augmented"),
        ({"crop_share": 0.0}, "crop_share"),
        ({"zoom": 2.0}, "zoom"),
    ],
)
def test_settings_that_cannot_be_are_refused_by_name(root: Path, settings: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        data(root, **settings).train_dataloader()


def test_a_fold_that_is_not_there_names_those_that_are(folded: Path) -> None:
    with pytest.raises(UserError, match="folds 0 to 2"):
        data(folded, fold=3).check()
    with pytest.raises(UserError, match=r"data\.fold=0 to 2"):
        data(folded).check()


def test_stores_that_do_not_serve_are_refused(write_activity_store: WriteStore, tmp_path: Path) -> None:
    write_activity_store(tmp_path / "untagged" / "train.h5", LABELS)
    write_activity_store(tmp_path / "blind" / "train.h5", LABELS, pixels=False)
    write_activity_store(tmp_path / "pose" / "train.h5", LABELS, kind="pose")
    with pytest.raises(UserError, match="no labels for target=tags"):
        data(tmp_path / "untagged", target="tags").samples("train")
    with pytest.raises(UserError, match="labels only"):
        data(tmp_path / "blind").check()
    with pytest.raises(UserError, match="kind is 'pose'"):
        data(tmp_path / "pose").samples("train")
    with pytest.raises(UserError, match="no store"):
        data(tmp_path / "absent").check()


def test_stores_of_two_conversions_are_refused(write_activity_store: WriteStore, tmp_path: Path) -> None:
    write_activity_store(tmp_path / "train.h5", LABELS)
    write_activity_store(tmp_path / "val.h5", LABELS[:2])
    with pytest.raises(UserError, match=r"both have '00000\.jpg'"):
        data(tmp_path).check()
    write_activity_store(tmp_path / "val.h5", LABELS[:2], prefix="v", categories=["dancing", "bicycling", "other"])
    with pytest.raises(UserError, match="differ"):
        data(tmp_path).check()
