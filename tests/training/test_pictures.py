"""What training draws of its validation samples."""

import csv
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from pose_lightning import fit
from pose_lightning.activity import pictures as of_activities
from pose_lightning.heatmap import pictures as of_heatmaps
from pose_lightning.joints import MPII
from pose_lightning.regression import pictures as of_clips
from pose_lightning.runs import RunDirectory
from pose_lightning.store import Store
from pose_lightning.training.pictures import alike

ROOT = Path(__file__).resolve().parents[2]
WHITE, PINK, RED = (255, 255, 255), (255, 105, 205), (225, 0, 0)
TINY = {
    "hourglass_mpii": (
        "--model.stacks=1",
        "--model.features=8",
        "--model.depth=2",
        "--model.warmup=2",
        "--data.input_size=64",
    ),
    "regression_vgg_lstm": (
        "--model.encoder_width=0.125",
        "--model.temporal_features=8",
        "--model.head_features=[8]",
        "--model.input_size=32",
        "--data.input_size=32",
    ),
}


def has_colour(picture: np.ndarray, colour: tuple[int, int, int]) -> bool:
    return bool((picture == colour).all(axis=-1).any())


POSES = SimpleNamespace(joint_set=MPII)


def persons(count: int = 4, seed: int = 0) -> tuple[dict[str, Any], np.ndarray]:
    """A batch of grey persons whose boxes lie apart, and their joints in image px."""
    generator = torch.Generator().manual_seed(seed)
    joints = torch.rand(count, 16, 2, generator=generator, dtype=torch.float64) * 50 + 7
    matrices = torch.tensor([[2.0, 0.0, 0.0], [0.0, 2.0, 0.0]], dtype=torch.float64).repeat(count, 1, 1)
    matrices[:, :, 2] = torch.arange(count, dtype=torch.float64)[:, None] * 300
    batch = {
        "image": torch.full((count, 3, 64, 64), 0.3),
        "joints": joints.float(),
        "labelled": torch.ones(count, 16, dtype=torch.bool),
        "unit": torch.full((count,), 20.0, dtype=torch.float64),
        "matrix": matrices,
    }
    return batch, (joints.float().double() @ matrices[:, :, :2].mT + matrices[:, None, :, 2]).numpy()


def test_a_joint_within_half_a_head_is_pink_and_another_red() -> None:
    batch, truth = persons(1)
    preds = truth + 7  # 9.9 px of the image, with heads of 20 px
    shown = of_heatmaps.show(batch, {"preds": preds}, ["near"], POSES)[0]
    assert has_colour(shown.picture, PINK)
    assert not has_colour(shown.picture, RED)
    assert shown.value == pytest.approx(7 * np.sqrt(2))
    wrong = of_heatmaps.show(batch, {"preds": truth + 9}, ["far"], POSES)[0]
    assert has_colour(wrong.picture, RED)
    assert not has_colour(wrong.picture, PINK)


def test_a_person_without_a_head_size_is_judged_by_its_box() -> None:
    batch, truth = persons(1)
    batch["unit"][:] = torch.nan  # 5 % of 64 px of the input are 6.4 px of the image
    assert not has_colour(of_heatmaps.show(batch, {"preds": truth + 4.4}, [""], POSES)[0].picture, RED)
    assert has_colour(of_heatmaps.show(batch, {"preds": truth + 4.7}, [""], POSES)[0].picture, RED)


def test_clips_are_measured_over_all_frames() -> None:
    truth = torch.randn(1, 3, 17, 3, generator=torch.Generator().manual_seed(0)) * 300
    batch = {"clip": torch.zeros(1, 3, 3, 32, 32), "joints": truth}
    preds = truth.double().numpy().copy()
    preds[0, 2, :, 0] += 30
    shown = of_clips.show(batch, {"preds": preds}, ["clip"], None)[0]
    assert shown.value == pytest.approx(10)
    assert has_colour(shown.picture, PINK)
    assert not has_colour(shown.picture, RED)


def test_classes_are_measured_by_the_share_of_the_true_one() -> None:
    batch = {"image": torch.zeros(1, 3, 32, 32), "target": torch.tensor([[0.0, 1.0, 0.0]])}
    data = SimpleNamespace(classes=["run", "sit", "eat"])
    shown = of_activities.show(batch, {"preds": np.array([[0.7, 0.2, 0.1]])}, ["photo"], data)[0]
    assert (shown.value, shown.seen_as) == (0.2, "run")


def test_one_answer_for_all_persons_is_told_wherever_their_boxes_are() -> None:
    batch, truth = persons()
    assert not alike(*of_heatmaps.comparable(batch, truth))
    centre = (
        np.array([32.0, 32.0]) @ batch["matrix"].numpy()[:, :, :2].swapaxes(1, 2) + batch["matrix"].numpy()[:, :, 2]
    )
    assert alike(*of_heatmaps.comparable(batch, np.repeat(centre[:, None], 16, axis=1)))


def test_one_answer_for_all_classes_is_told() -> None:
    batch = {"image": torch.zeros(4, 3, 8, 8), "target": torch.eye(4)}
    assert alike(*of_activities.comparable(batch, np.full((4, 4), 0.25)))
    assert not alike(*of_activities.comparable(batch, np.eye(4)))


@pytest.mark.parametrize(
    ("experiment", "fixture"), [("hourglass_mpii", "demo_stores"), ("regression_vgg_lstm", "demo_clip_stores")]
)
def test_a_run_leaves_its_pictures_and_a_table(
    experiment: str,
    fixture: str,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    stores = request.getfixturevalue(fixture)
    arguments = [
        f"--config={ROOT}/experiments/{experiment}.yaml",
        f"--config={ROOT}/experiments/demo/{experiment}.yaml",
        *TINY[experiment],
        f"--data.root={stores}",
        "--data.batch_size=6",
        "--trainer.max_steps=5",
        "--trainer.max_epochs=-1",
        "--trainer.val_check_interval=1",
        "--trainer.log_every_n_steps=1",
        "--pictures.count=3",
        f"--runs={tmp_path}/runs",
    ]

    def trained(every: int) -> RunDirectory:
        with ExitStack() as held:
            return fit.train([*arguments, f"--pictures.every={every}"], held=held)[0]

    run, without = trained(3), trained(0)
    seen = [int(path.stem) for path in sorted((run.path / "samples").glob("*.png"))]
    with Store(stores / "train.h5") as store:
        end = min(30, len(store))  # the last batch of an epoch may be smaller
    assert seen == [6, 24, end], "the first validation, the fourth and the end"
    picture = cv2.imread(str(run.path / "samples" / f"{seen[0]:09d}.png"))
    assert picture.shape[1] > 3 * 256
    rows = list(csv.DictReader((run.path / "samples" / "table.csv").read_text().splitlines()))
    assert len(rows) == 9
    assert [row["name"] for row in rows[:3]] == [row["name"] for row in rows[-3:]]
    assert len({row["name"] for row in rows}) == 3
    assert not (without.path / "samples").exists()
    weights = [torch.load(each.last, weights_only=True)["state_dict"] for each in (run, without)]
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0]), "drawing changes training"
