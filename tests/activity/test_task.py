"""The task in a real trainer: what it logs, what it leaves alone, and what a resumed run becomes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.testing import assert_close

from pose_lightning.activity import probe
from pose_lightning.activity.data import ActivityData
from pose_lightning.activity.freeze import Freeze, parts
from pose_lightning.activity.task import ActivityClassification
from pose_lightning.errors import UserError
from pose_lightning.training.checkpoints import AtomicCheckpointIO, RunCheckpoints
from pose_lightning.training.ema import AveragedWeights

WriteStore = Callable[..., Path]

CATEGORIES = ("bicycling", "dancing", "sitting, at rest")
NUMBERS = [1, 0, 1, 2, 1, 1, 0, 1, 2, 1]
LABELS = [CATEGORIES[number] for number in NUMBERS]
TAGS = [[i % 2 == 0, i % 3 == 0] for i in range(10)]
NETWORK: dict[str, Any] = {"backbone": "test_resnet", "num_classes": 3, "input_size": 64, "lr": 1e-3}


@pytest.fixture(scope="module")
def root(write_activity_store: WriteStore, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("activity")
    write_activity_store(folder / "train.h5", LABELS, tags=TAGS)
    write_activity_store(folder / "val.h5", LABELS[:5], tags=TAGS[:5], prefix="v")
    return folder


def task(**settings: Any) -> ActivityClassification:
    pl.seed_everything(1)
    return ActivityClassification(**(NETWORK | settings))


def data(root: Path, **settings: Any) -> ActivityData:
    return ActivityData(root, **{"batch_size": 4, "input_size": 64, "num_threads": 0, "seed": 3} | settings)


def trainer(*callbacks: pl.Callback, **settings: Any) -> pl.Trainer:
    checkpoints = [each for each in callbacks if isinstance(each, RunCheckpoints)]
    made = pl.Trainer(
        **{
            "accelerator": "cpu",
            "logger": False,
            "enable_checkpointing": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "num_sanity_val_steps": 0,
            "log_every_n_steps": 1,
            "max_epochs": 1,
            "plugins": [AtomicCheckpointIO()],
            "callbacks": [each for each in callbacks if each not in checkpoints],
        }
        | settings
    )
    made.callbacks.extend(checkpoints)  # type: ignore[attr-defined]  # as `fit` does
    return made


def state(model: nn.Module) -> dict[str, Tensor]:
    return {key: value.clone() for key, value in model.state_dict().items()}


class Watch(pl.Callback):
    """Notes what the task does at every step."""

    def __init__(self, look: Callable[[ActivityClassification], Any]) -> None:
        self.look, self.seen = look, []  # type: tuple[Callable[[ActivityClassification], Any], list[Any]]

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        assert isinstance(pl_module, ActivityClassification)
        self.seen.append(self.look(pl_module))


def evaluated(model: ActivityClassification, module: ActivityData, split: str) -> tuple[Tensor, Tensor]:
    """Logits and labels of a split, computed without the task's own steps."""
    model.eval()
    with torch.inference_mode():
        batches = [module.on_after_batch_transfer(batch, 0) for batch in module.evaluation_loader(split)]
        logits = torch.cat([model.model(batch["image"]) for batch in batches])
    return logits, torch.cat([batch["label"] for batch in batches])


def test_an_epoch_logs_loss_and_accuracy_over_unequal_batches(root: Path) -> None:
    model, module, fit = task(), data(root), trainer()
    fit.fit(model, datamodule=module)
    logged = {key: float(value) for key, value in fit.callback_metrics.items()}
    assert {"train/loss", "train/top1", "val/loss", "val/top1", "val/top5", "val/balanced", "val/nll"} <= logged.keys()
    logits, label = evaluated(model, module, "val")
    right = logits.argmax(dim=1) == label
    assert logged["val/loss"] == pytest.approx(float(F.cross_entropy(logits, label)), rel=1e-5)
    assert logged["val/top1"] == pytest.approx(100 * float(right.float().mean()))
    assert logged["train/top1"] * 10 / 100 == pytest.approx(round(logged["train/top1"] * 10 / 100))  # of ten pictures
    recalls = [float(right[label == number].float().mean()) for number in range(3)]
    assert logged["val/balanced"] == pytest.approx(100 * float(np.mean(recalls)))
    assert model.monitor == ("val/top1", "max")
    assert set(model.curves) == {"loss", "top1"}


def test_the_loss_of_an_epoch_is_the_weighted_mean_over_its_pictures(root: Path) -> None:
    model, module = task(class_weights="inverse", lr=1e-12, freeze=Freeze("all")), data(root, batch_size=3)
    fit = trainer()
    fit.fit(model, datamodule=module)
    logits, label = evaluated(model, module, "train")
    weights = 10 / (3 * torch.bincount(label))  # the mean over the pictures is 1
    wanted = (F.cross_entropy(logits, label, reduction="none") * weights[label]).mean()
    assert float(fit.callback_metrics["train/loss"]) == pytest.approx(float(wanted), rel=1e-5)
    plain = F.cross_entropy(*evaluated(model, module, "val"))
    assert float(fit.callback_metrics["val/loss"]) == pytest.approx(float(plain), rel=1e-5)


def test_the_loss_of_tags_is_divided_by_the_mean_weight(root: Path) -> None:
    model = task(num_classes=2, loss="bce", pos_weights="ratio", lr=1e-12, freeze=Freeze("all"))
    module, fit = data(root, target="tags"), trainer()
    fit.fit(model, datamodule=module)
    logits, target = evaluated(model, module, "train")[0], torch.tensor(TAGS, dtype=torch.float32)
    weights = torch.tensor([5 / 5, 6 / 4])
    pairs = F.binary_cross_entropy_with_logits(logits, target, pos_weight=weights, reduction="none")
    wanted = pairs.mean() / torch.where(target > 0, weights, 1.0).mean()
    assert float(fit.callback_metrics["train/loss"]) == pytest.approx(float(wanted), rel=1e-5)
    assert {"val/map", "val/micro_f1"} <= fit.callback_metrics.keys()
    assert "train/top1" not in fit.callback_metrics
    assert model.monitor == ("val/map", "max")


def test_padding_counts_in_no_metric(root: Path) -> None:
    model = task().eval()
    module = data(root, batch_size=8)
    (raw,) = list(module.evaluation_loader("val"))
    batch = module.on_after_batch_transfer(raw, 0)
    batch["weight"][3:] = 0
    with torch.inference_mode():
        model.validation_step(batch, 0)
        logits = model.model(batch["image"])[:3]
    assert_close(model.val_loss.compute(), F.cross_entropy(logits, batch["label"][:3]))
    right = (logits.argmax(dim=1) == batch["label"][:3]).double().mean()
    assert_close(model.val_errors.compute()["top1"], 100 * right)


def test_predictions_are_probabilities_of_every_picture(root: Path) -> None:
    model, module, fit = task(), data(root), trainer()
    module.predict_split = "val"
    batches: Any = fit.predict(model, datamodule=module)
    found = {key: torch.cat([batch[key] for batch in batches]) for key in batches[0]}
    logits, label = evaluated(model, module, "val")
    assert found["preds"].dtype == torch.float64
    assert_close(found["preds"], logits.double().softmax(dim=1))
    assert_close(found["preds"].sum(dim=1), torch.ones(5, dtype=torch.float64), rtol=1e-12, atol=0)
    assert_close(found["loss"], F.cross_entropy(logits, label, reduction="none").double())
    assert found["index"].tolist() == list(range(5))


def test_tags_are_sigmoids(root: Path) -> None:
    model = task(num_classes=2, loss="asymmetric").eval()
    image = torch.rand(2, 3, 64, 64)
    assert_close(model(image), model.model(image).double().sigmoid())


def test_the_flip_test_is_the_mean_of_a_picture_and_its_mirror_image() -> None:
    model = task().eval()
    image = torch.rand(2, 3, 64, 64)
    batch = {"image": image, "target": torch.zeros(2, 3), "index": torch.arange(2), "weight": torch.ones(2)}
    model.flip_test = True
    with torch.no_grad():
        assert_close(model.predict_step(batch, 0)["preds"], (model(image) + model(image.flip(3))) / 2)


@pytest.mark.parametrize(
    ("freeze", "learns"),
    [(Freeze("all"), False), (Freeze("all_but_last", 7), True), (Freeze("last", 7), True), (Freeze(), True)],
)
def test_what_is_frozen_is_the_same_to_the_last_bit_after_training(root: Path, freeze: Freeze, learns: bool) -> None:
    model = task(freeze=freeze, optimizer="adamw", weight_decay=0.1)
    before = state(model.model.backbone)
    trainer(max_epochs=2).fit(model, datamodule=data(root))
    after = state(model.model.backbone)
    changed = {key.rpartition(".")[0] for key in before if not torch.equal(before[key], after[key])}
    assert not changed & set(model.frozen)
    assert changed == set(parts(model.model.backbone)) - set(model.frozen)
    assert bool(changed) == learns
    assert any("running_mean" in key and key.rpartition(".")[0] in model.frozen for key in before) == bool(model.frozen)


@pytest.mark.parametrize("settings", [{}, {"freeze": Freeze("all"), "unfreeze_every": 1}])
def test_the_statistics_alone_can_be_frozen(root: Path, settings: dict[str, Any]) -> None:
    model = task(freeze_statistics=True, optimizer="adamw", **settings)
    before = state(model.model.backbone)
    trainer(max_epochs=6).fit(model, datamodule=data(root))
    after = state(model.model.backbone)
    same = {key for key in before if torch.equal(before[key], after[key])}
    assert same == {key for key in before if "running_" in key or "num_batches" in key}
    assert any("running_mean" in key for key in same)


def test_what_is_frozen_is_listed_at_the_start(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    model = task(freeze=Freeze("last", 2))
    with caplog.at_level("INFO", logger="pytorch_lightning"):
        trainer(fast_dev_run=True).fit(model, datamodule=data(root))
    text = " ".join(" ".join(record.getMessage() for record in caplog.records).split())
    assert "frozen: 2 of 30 parts of test_resnet: layer4.0.downsample.1, layer4.0.downsample.2" in text


def test_every_stage_learns_at_a_share_of_the_next_ones_rate() -> None:
    model = task(layer_decay=0.5, freeze=Freeze("last", 1))
    groups = model.parameter_groups()
    assert [group["lr"] for group in groups] == [1e-3 * 0.5**n for n in (5, 4, 3, 2, 1, 0)]
    head = {id(parameter) for parameter in model.model.head.parameters()}
    assert {id(parameter) for parameter in groups[-1]["params"]} == head
    first = dict(model.model.backbone.named_parameters())["conv1.0.weight"]
    assert any(parameter is first for parameter in groups[0]["params"])
    grouped = sum(len(group["params"]) for group in groups)
    assert grouped == sum(parameter.requires_grad for parameter in model.parameters())


def test_the_optimizer_has_the_groups_and_the_schedule_keeps_their_ratio(root: Path) -> None:
    model = task(layer_decay=0.5, schedule="step", step_every=1.0, decay=0.5)
    fit = trainer(max_steps=2, log_every_n_steps=1)
    fit.fit(model, datamodule=data(root))
    logged = {name: value.item() for name, value in fit.logged_metrics.items() if name.startswith("lr")}
    assert logged == {
        f"lr/{name}": pytest.approx(1e-3 * 0.5 * 0.5**n)
        for name, n in zip(("stage0", "stage1", "stage2", "stage3", "stage4", "head"), (5, 4, 3, 2, 1, 0), strict=True)
    }  # of the second step
    rates = [group["lr"] for group in fit.optimizers[0].param_groups]
    assert rates == [pytest.approx(1e-3 * 0.25 * 0.5**n) for n in (5, 4, 3, 2, 1, 0)]


def test_the_backbone_learns_at_its_own_rate() -> None:
    groups = task(backbone_rate=0.1).parameter_groups()
    assert [group["lr"] for group in groups] == [pytest.approx(1e-4), 1e-3]
    assert [group["name"] for group in groups] == ["backbone", "head"]
    both = task(backbone_rate=0.1, layer_decay=0.5).parameter_groups()
    assert [group["lr"] for group in both] == [pytest.approx(1e-4 * 0.5**n) for n in (5, 4, 3, 2, 1)] + [1e-3]


@pytest.mark.parametrize("limit", [None, 6])
def test_the_head_starts_as_a_probe_of_the_training_pictures(root: Path, limit: int | None) -> None:
    settings: dict[str, Any] = {"head": "pooled", "freeze": Freeze("all"), "lr": 1e-12}
    model = task(**settings, probe_penalty=0.01)
    module = data(root, limit_samples=limit, flip=1.0)
    trainer(max_steps=1).fit(model, datamodule=module)
    model.eval()
    with torch.inference_mode():
        batches = [module.on_after_batch_transfer(batch, 0) for batch in data(root).evaluation_loader("train")]
        features = torch.cat([model.model.features(batch["image"]) for batch in batches])[:limit]
    weight, bias = probe.fit(features.clone(), torch.tensor(NUMBERS)[:limit], classes=3, penalty=0.01)
    assert_close(model.model.head[-1].weight.detach(), weight, atol=1e-5, rtol=1e-4)
    assert_close(model.model.head[-1].bias.detach(), bias, atol=1e-5, rtol=1e-4)


def test_stages_thaw_one_after_the_other(root: Path) -> None:
    watch = Watch(lambda model: {key.split(".")[0] for key in moved(model)})
    model = task(freeze=Freeze("all"), unfreeze_every=1, optimizer="adamw", weight_decay=0.1)
    start = state(model.model.backbone)

    def moved(model: ActivityClassification) -> list[str]:
        return [key for key, value in model.model.backbone.state_dict().items() if not torch.equal(value, start[key])]

    trainer(watch, max_epochs=4).fit(model, datamodule=data(root, batch_size=10))
    assert watch.seen == [set(), {"layer4"}, {"layer4", "layer3"}, {"layer4", "layer3", "layer2"}]


def test_accumulated_batches_train_like_the_whole_one(root: Path) -> None:
    settings = {"backbone": "test_convnext", "head": "pooled", "optimizer": "sgd", "lr": 0.1}  # which has no batch norm
    models = [task(**settings) for _ in range(2)]
    for model, accumulate in zip(models, (1, 2), strict=True):
        trainer(max_epochs=2, accumulate_grad_batches=accumulate).fit(model, datamodule=data(root))
    fresh = task(**settings).state_dict()
    for name, value in models[0].model.state_dict().items():
        assert_close(models[1].model.state_dict()[name], value, atol=1e-5, rtol=1e-4)
    assert any(not torch.equal(value, fresh[name]) for name, value in models[0].state_dict().items())


def test_thawing_may_count_samples(root: Path) -> None:
    watch = Watch(lambda model: len(model.model.still))
    model = task(freeze=Freeze("all"), unfreeze_every=8, unfreeze_unit="samples")
    trainer(watch, max_epochs=2).fit(model, datamodule=data(root))  # batches of 4, 4, 2, 4, 4, 2
    stages = [len([name for name in model.frozen if name.startswith(f"layer{i}")]) for i in (4, 3)]
    everything = len(model.frozen)
    held = [0, 0, stages[0], stages[0], stages[0], sum(stages)]  # at 0, 4, 8, 10, 14, 18 samples: 0, 0, 1, 1, 1, 2
    assert watch.seen == [everything - number for number in held]


def run(folder: Path, root: Path, steps: int, make: Callable[[], ActivityClassification], ema: bool) -> dict[str, Any]:
    """Train up to a step, going on from `last.ckpt` where there is one; returns that checkpoint."""
    checkpoints = RunCheckpoints(folder, monitor="val/top1", mode="max", every_n_steps=2)
    averaging = [AveragedWeights(decay=0.7, every_n_steps=2)] if ema else []
    last = folder / "last.ckpt"
    fit = trainer(*averaging, checkpoints, max_steps=steps, max_epochs=-1)
    changes = {"flip": 0.5, "rotation": 20.0, "mixup": 0.5, "sampling": "balanced"}
    fit.fit(make(), datamodule=data(root, **changes), ckpt_path=last if last.is_file() else None, weights_only=True)
    found: dict[str, Any] = torch.load(last, weights_only=True)
    return found


@pytest.mark.parametrize("ema", [False, True])
@pytest.mark.filterwarnings("ignore:The ``compute`` method of metric MeanMetric")
@pytest.mark.filterwarnings("ignore:You're resuming from a checkpoint that ended before the epoch ended")
def test_a_resumed_run_equals_an_undisturbed_one(root: Path, tmp_path: Path, ema: bool) -> None:
    def make() -> ActivityClassification:
        settings = {"unfreeze_every": 2, "class_weights": "effective", "layer_decay": 0.8, "probe_penalty": 0.1}
        return task(freeze=Freeze("all_but_last", 12), **settings)

    undisturbed = run(tmp_path / "whole", root, 10, make, ema)
    for steps in (4, 10):  # three batches an epoch: stopped within the second
        resumed = run(tmp_path / "parts", root, steps, make, ema)
    assert resumed["global_step"] == undisturbed["global_step"] == 10
    for key in ("state_dict", *(["current_model_state"] if ema else [])):
        assert resumed[key].keys() == undisturbed[key].keys()
        for name, value in undisturbed[key].items():
            assert torch.equal(resumed[key][name], value), name


def test_checkpoints_hold_the_averaged_weights(root: Path, tmp_path: Path) -> None:
    weight = Watch(lambda model: state(model.model)["head.1.weight"])
    checkpoints = RunCheckpoints(tmp_path, monitor="val/top1", mode="max", every_n_steps=100)
    model = task(optimizer="sgd", lr=0.1)
    fit = trainer(weight, AveragedWeights(decay=0.2), checkpoints)
    fit.fit(model, datamodule=data(root))
    first, *others = weight.seen
    average = first
    for number, each in enumerate(others, start=1):
        kept = min(0.2, (1 + number) / (10 + number))
        average = kept * average + (1 - kept) * each
    for name in ("best.ckpt", "last.ckpt"):
        found = torch.load(tmp_path / name, weights_only=True)
        assert_close(found["state_dict"]["model.head.1.weight"], average)
        assert torch.equal(found["current_model_state"]["model.head.1.weight"], others[-1])
    plain = task()
    plain.load_state_dict(found["state_dict"])
    logits, label = evaluated(plain, data(root), "val")
    top1 = 100 * (logits.argmax(dim=1) == label).float().mean()
    assert float(fit.callback_metrics["val/top1"]) == pytest.approx(float(top1))  # validation sees the average too


@pytest.mark.parametrize(
    ("model", "module", "words"),
    [
        ({"num_classes": 4}, {}, r"num_classes is 4.*set model\.num_classes=3"),
        ({}, {"target": "activity"}, r"set model\.num_classes=6"),
        ({}, {"input_size": 32}, r"data\.input_size is 32"),
        ({}, {"evaluation_size": 96}, r"model\.head=pooled"),
        ({"num_classes": 2}, {"target": "tags"}, "take bce or asymmetric"),
        ({"loss": "bce"}, {}, "take cross_entropy"),
    ],
)
def test_data_that_the_network_does_not_fit_is_refused(
    root: Path, model: dict[str, Any], module: dict[str, Any], words: str
) -> None:
    with pytest.raises(UserError, match=words):
        trainer().fit(task(**model), datamodule=data(root, **module))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"loss": "bce", "label_smoothing": 0.1}, "label_smoothing"),
        ({"layer_decay": 1.5}, "layer_decay"),
        ({"backbone_rate": 0.0}, "backbone_rate"),
        ({"unfreeze_every": 2.0}, "mode that freezes"),
        ({"probe_penalty": -1.0}, "probe_penalty"),
        ({"probe_penalty": 0.1, "loss": "bce"}, "probe_penalty"),
        ({"probe_penalty": 0.1, "head": "mlp", "head_features": 4}, "probe_penalty"),
        ({"freeze": Freeze("last", 31)}, "30 parts"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        task(**settings)
