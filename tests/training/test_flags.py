"""One flag each: what it must keep."""

import math
import subprocess
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from torch import Tensor, nn
from torch.testing import assert_close

from pose_lightning import cli, fit
from pose_lightning.activity.model import ActivityClassifier
from pose_lightning.errors import UserError
from pose_lightning.heatmap.model import StackedHourglass
from pose_lightning.heatmap.simple_baseline import SimpleBaseline
from pose_lightning.heatmap.task import HeatmapEstimation
from pose_lightning.heatmap.vit import VitPose
from pose_lightning.history import read_metrics
from pose_lightning.recomputation import blocks, recompute_blocks
from pose_lightning.regression.model import ClipRegressor
from pose_lightning.runs import RunDirectory
from pose_lightning.training.compilation import CompiledNetwork
from pose_lightning.training.ema import AveragedWeights, Averaging
from pose_lightning.training.pictures import Pictures

ROOT = Path(__file__).resolve().parents[2]
SMALL = (
    "--model.network.stacks=1",
    "--model.network.features=8",
    "--model.network.depth=2",
    "--data.input_size=64",
    "--data.batch_size=6",
)


@pytest.fixture(autouse=True)
def untracked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")


def arguments(root: Path, *more: str) -> list[str]:
    """A hourglass of 8 features on drawn people, plain SGD; further arguments go last."""
    return [
        f"--config={ROOT}/experiments/hourglass_mpii.yaml",
        f"--config={ROOT}/experiments/demo/hourglass_mpii.yaml",
        *SMALL,
        "--model.optimizer=sgd",
        "--model.lr=0.1",
        "--model.schedule=constant",
        "--model.warmup=0",
        "--trainer.max_epochs=-1",
        "--trainer.val_check_interval=null",
        "--trainer.check_val_every_n_epoch=1",
        "--trainer.log_every_n_steps=1",
        "--trainer.accelerator=cpu",
        "--trainer.enable_progress_bar=false",
        f"--data.root={root}",
        *more,
    ]


def trained(
    root: Path, *more: str, callbacks: tuple[Callback, ...] = (), network: nn.Module | None = None
) -> cli.PoseCLI:
    """What is left of a training without files; `network` takes the place of the hourglass."""
    built = cli.build(arguments(root, "--trainer.num_sanity_val_steps=0", *more))
    built.model.model = network or built.model.model
    built.trainer.callbacks.extend(callbacks)  # type: ignore[attr-defined]
    built.trainer.fit(built.model, datamodule=built.datamodule)
    return built


class Watch(Callback):
    """Notes something at the end of every batch."""

    def __init__(self, look: Callable[[pl.Trainer, pl.LightningModule], Any]) -> None:
        self.look, self.seen = look, []  # type: tuple[Callable[[pl.Trainer, pl.LightningModule], Any], list[Any]]

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        self.seen.append(self.look(trainer, pl_module))


def loss(trainer: pl.Trainer, _: pl.LightningModule) -> float:
    return float(trainer.callback_metrics["train/loss_step"])


def copied(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


# clipping and accumulation


@pytest.mark.parametrize("accumulate", [1, 3])
def test_a_step_moves_the_weights_by_the_clipped_gradient_of_the_whole_batch(
    demo_stores: Path, accumulate: int
) -> None:
    more = ("--trainer.max_steps=1", "--model.lr=1.0", f"--trainer.accumulate_grad_batches={accumulate}")
    before = cli.build(arguments(demo_stores)).model
    moved = []
    for clip in (0.125, 0.25):
        after = trained(demo_stores, *more, f"--trainer.gradient_clip_val={clip}").model
        pairs = zip(before.parameters(), after.parameters(), strict=True)
        moved.append(torch.cat([(new - old).detach().flatten() for old, new in pairs]))
        assert float(moved[-1].norm()) == pytest.approx(clip, rel=1e-4)
    assert_close(2 * moved[0], moved[1], atol=1e-6, rtol=1e-4)  # the direction stays


# precision


def test_mixed_precision_keeps_weights_labels_and_losses_in_float32(demo_stores: Path) -> None:
    class Types(Callback):
        def __init__(self) -> None:
            self.seen: set[tuple[str, torch.dtype]] = set()

        def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Any, _: int) -> None:
            self.seen |= {("joints", batch["joints"].dtype), ("loss", outputs["loss"].dtype)}
            self.seen |= {("weights", each.dtype) for each in pl_module.parameters()}

        def on_validation_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, *_: Any) -> None:
            self.seen.add(("heatmaps", outputs["heatmaps"].dtype))

    single, mixed, types = Watch(loss), Watch(loss), Types()
    trained(demo_stores, "--trainer.max_steps=3", callbacks=(single,))
    more = ("--trainer.max_steps=3", "--trainer.limit_train_batches=3")
    trained(demo_stores, *more, "--trainer.precision=bf16-mixed", callbacks=(mixed, types))
    kept = {(name, torch.float32) for name in ("joints", "loss", "weights")}
    assert types.seen == kept | {("heatmaps", torch.bfloat16)}
    assert mixed.seen == pytest.approx(single.seen, rel=0.02)
    assert mixed.seen != single.seen


# compilation


class Small(nn.Module):
    """Not of the package: the tests check its shapes as they run, which nobody can compile."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(3)
            self.layers = nn.Sequential(nn.Conv2d(3, 8, 4, stride=4), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 16, 1))

    def forward(self, image: Tensor) -> Tensor:
        return self.layers(image)[:, None]


def test_a_compiled_network_trains_alike_and_leaves_the_names_of_its_weights(demo_stores: Path) -> None:
    plain, compiled, compiling = Watch(loss), Watch(loss), CompiledNetwork("aot_eager")
    one, other = Small(), Small()
    trained(demo_stores, "--trainer.max_steps=3", callbacks=(plain,), network=one)
    trained(demo_stores, "--trainer.max_steps=3", callbacks=(compiled, compiling), network=other)
    assert compiled.seen == pytest.approx(plain.seen, rel=1e-5)
    assert other._compiled_call_impl is not None
    assert one.state_dict().keys() == other.state_dict().keys()
    for name, value in one.state_dict().items():
        assert_close(other.state_dict()[name], value, atol=1e-6, rtol=1e-5)


def test_the_flag_compiles_and_refuses_what_it_does_itself(demo_stores: Path) -> None:
    built = cli.build(arguments(demo_stores, "--compile=true"))
    assert [each for each in built.trainer.callbacks if isinstance(each, CompiledNetwork)]  # type: ignore[attr-defined]
    with pytest.raises(UserError, match=r"compile=true .* leave out model\.checkpoint_activations=true"):
        cli.build(arguments(demo_stores, "--compile=true", "--model.checkpoint_activations=true"))


@pytest.mark.slow
def test_a_run_that_compiles_is_scored_without(demo_stores: Path, tmp_path: Path) -> None:
    losses = []
    for compiled in ("false", "true"):
        given = arguments(
            demo_stores, "--trainer.max_steps=2", f"--compile={compiled}", f"--runs={tmp_path / compiled}"
        )
        command = [sys.executable, "-m", "pose_lightning.fit", *given]
        subprocess.run(command, check=True, capture_output=True, timeout=900)
        run = RunDirectory.open(next((tmp_path / compiled).glob("*/*")))
        assert (run.path / "metrics.json").is_file()
        losses.append([float(row["train/loss_step"]) for row in read_metrics(run.path / "metrics.csv")[:2]])
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


# recomputed activations and memory formats


def hourglass(*, channels_last: bool = True, **settings: Any) -> nn.Module:
    network = partial(StackedHourglass, stacks=2, features=16, depth=2, channels_last=channels_last)
    return HeatmapEstimation(network=network, **settings).model


def simple_baseline(*, channels_last: bool = True, **settings: Any) -> nn.Module:
    network = partial(SimpleBaseline, backbone="test_efficientnet", channels_last=channels_last)
    return HeatmapEstimation(network=network, **settings).model


def vit(*, channels_last: bool = True, **settings: Any) -> nn.Module:
    network = partial(VitPose, backbone="test_vit", channels_last=channels_last)
    return HeatmapEstimation(network=network, **settings).model


def classifier(**settings: Any) -> nn.Module:
    return ActivityClassifier(backbone="test_resnet", num_classes=3, input_size=64, head="pooled", **settings)


def regressor(**settings: Any) -> nn.Module:
    small: dict[str, Any] = {"encoder_width": 0.0625, "temporal_features": 8, "head_features": [8]}
    return ClipRegressor(**small, encoder_features=[8], input_size=32, dropout=0.2, **settings)


NETWORKS: Mapping[str, tuple[Callable[..., nn.Module], tuple[int, ...]]] = {
    "heatmap": (hourglass, (3, 3, 64, 64)),
    "heatmap, simple baseline": (simple_baseline, (3, 3, 64, 64)),
    "heatmap, transformer": (vit, (3, 3, 64, 64)),
    "regression": (regressor, (3, 2, 3, 32, 32)),
    "activity": (classifier, (3, 3, 64, 64)),
}


def steps(
    make: Callable[..., nn.Module], shape: tuple[int, ...], **settings: Any
) -> tuple[list[float], dict[str, Tensor]]:
    """Losses and state of three steps from the same weights."""
    torch.manual_seed(0)
    network = make(**settings)
    optimizer = torch.optim.SGD([each for each in network.parameters() if each.requires_grad], lr=0.01)
    losses = []
    for step in range(3):
        torch.manual_seed(step)  # dropout too
        optimizer.zero_grad()
        value = network(torch.rand(shape)).square().mean()
        value.backward()
        optimizer.step()
        losses.append(value.item())
    return losses, network.state_dict()


@pytest.mark.parametrize("name", NETWORKS)
def test_recomputed_activations_change_no_loss_no_weight_and_no_statistic(name: str) -> None:
    make, shape = NETWORKS[name]
    losses, state = steps(make, shape)
    losses_again, state_again = steps(make, shape, checkpoint_activations=True)
    assert losses == losses_again
    assert len(set(losses)) == 3
    assert state.keys() == state_again.keys()
    assert any(key.endswith("num_batches_tracked") for key in state)
    for key, value in state.items():
        assert torch.equal(value, state_again[key]), key


@pytest.mark.parametrize("name", [name for name in NETWORKS if name != "regression"])  # whose encoder's tests say so
def test_recomputing_keeps_less_between_the_passes(name: str) -> None:
    make, shape = NETWORKS[name]

    def kept(**settings: Any) -> int:
        sizes: dict[int, int] = {}

        def pack(tensor: Tensor) -> Tensor:
            sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        network = make(**settings)
        weights = {each.untyped_storage().data_ptr() for each in network.parameters()}
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            output = network(torch.rand(shape))
        assert output.requires_grad
        return sum(size for place, size in sizes.items() if place not in weights)

    assert kept(checkpoint_activations=True) < 0.8 * kept()


def test_the_blocks_of_a_network_of_hourglasses_are_what_stands_in_rows() -> None:
    stem = [f"stem.{place}" for place in (3, 5, 6)]
    stacks = [f"stacks.{stack}.features.{place}" for stack in (0, 1) for place in (0, 1)]
    assert sorted(blocks(hourglass())) == sorted(["injections.0", *stem, *stacks])


def test_a_network_without_blocks_is_refused() -> None:
    with pytest.raises(UserError, match="checkpoint_activations=true saves nothing: Linear"):
        recompute_blocks(nn.Linear(2, 2))


class Overwriting(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(2, 2), nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.first(x.relu_()))


def test_a_block_that_overwrites_its_input_is_refused_by_name() -> None:
    network = nn.Sequential(nn.Linear(2, 2), Overwriting())
    recompute_blocks(network)
    with pytest.raises(UserError, match=r"1 \(Overwriting\) overwrites its input"):
        network(torch.rand(3, 2))


@pytest.mark.parametrize("name", NETWORKS)
def test_the_memory_format_changes_no_output(name: str) -> None:
    make, shape = NETWORKS[name]
    outputs = []
    for channels_last in (False, True):
        torch.manual_seed(0)
        network = make(channels_last=channels_last).eval()
        strided = [each for each in network.parameters() if each.ndim == 4 and not each.is_contiguous()]
        assert bool(strided) == channels_last
        outputs.append(network(torch.rand(shape, generator=torch.Generator().manual_seed(1))))
    assert_close(outputs[0], outputs[1], atol=1e-5, rtol=1e-4)


# averaged weights


def test_the_average_follows_the_weights_faster_at_first() -> None:
    average = AveragedWeights(0.9)
    assert [average.decay_after(updates) for updates in (1, 2, 80, 1000)] == [2 / 11, 3 / 12, 0.9, 0.9]


@pytest.mark.parametrize("every", [1, 2])
def test_validation_and_the_end_of_training_see_the_average_of_weights_and_statistics(
    demo_stores: Path, every: int
) -> None:
    flags = ("--ema.decay=0.3", f"--ema.every_n_steps={every}", "--trainer.max_steps=5")
    watch, validated = Watch(lambda _, module: copied(module.model)), []  # type: ignore[arg-type]

    class Look(Callback):
        def on_validation_batch_end(self, trainer: pl.Trainer, pl_module: Any, *_: Any) -> None:
            validated.append(copied(pl_module.model))

    built = trained(demo_stores, *flags, "--trainer.limit_train_batches=5", callbacks=(watch, Look()))
    expected = watch.seen[0]
    for number, state in enumerate(watch.seen[every::every], start=1):
        kept = min(0.3, (1 + number) / (10 + number))
        expected = {
            name: kept * expected[name] + (1 - kept) * value if value.is_floating_point() else value
            for name, value in state.items()
        }
    assert any(key.endswith("running_var") for key in expected)
    for found in (validated[-1], copied(built.model.model)):  # and the module's own when all is over
        for name, value in expected.items():
            assert_close(found[name], value, msg=name)
    assert any(not torch.equal(expected[name], value) for name, value in watch.seen[-1].items())


def test_pictures_are_drawn_of_the_average_that_validation_sees(
    demo_stores: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    validated: list[dict[str, Tensor]] = []
    drawn: list[dict[str, Tensor]] = []
    trained_on: list[dict[str, Tensor]] = []

    class Look(Callback):
        def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, *_: Any) -> None:
            trained_on.append(copied(pl_module.model))

        def on_train_batch_start(self, trainer: pl.Trainer, pl_module: Any, *_: Any) -> None:
            if trained_on:
                assert all(torch.equal(value, trained_on[-1][key]) for key, value in copied(pl_module.model).items())

        def on_validation_batch_end(self, trainer: pl.Trainer, pl_module: Any, *_: Any) -> None:
            validated.append(copied(pl_module.model))

    monkeypatch.setattr(Pictures, "_draw", lambda _, trainer, module: drawn.append(copied(module.model)))
    more = ("--ema.decay=0.5", "--trainer.max_steps=3", "--trainer.val_check_interval=2", "--pictures.every=1")
    built = cli.build(arguments(demo_stores, *more, "--trainer.num_sanity_val_steps=0"))
    pictures = Pictures(tmp_path, every=1, count=2)
    built.trainer.callbacks.extend([Look(), pictures])  # type: ignore[attr-defined]
    built.trainer.fit(built.model, datamodule=built.datamodule)
    assert len(trained_on) == 3
    for name, value in validated[-1].items():
        assert torch.equal(drawn[0][name], value), name
    assert any(not torch.equal(value, trained_on[1][name]) for name, value in drawn[0].items())


def test_a_resumed_run_averages_as_an_undisturbed_one_and_is_scored_by_its_average(
    demo_stores: Path, tmp_path: Path
) -> None:
    flags = ("--ema.decay=0.5", "--ema.every_n_steps=2", "--checkpoint.every_n_steps=1")

    def run(name: str, steps: int) -> RunDirectory:
        return RunDirectory(
            fit.fit(arguments(demo_stores, *flags, f"--trainer.max_steps={steps}", f"--runs={tmp_path / name}"))
        )

    whole, parts = run("whole", 7), run("parts", 4)
    fit.fit(["--resume", str(parts.path), "--trainer.max_steps=7"])
    one, other = (torch.load(each.last, weights_only=True) for each in (whole, parts))
    assert one["global_step"] == other["global_step"] == 7
    for key in ("state_dict", "current_model_state", "averaging_state"):
        assert one[key].keys() == other[key].keys()
        for name, value in one[key].items():
            assert torch.equal(value, other[key][name]), name
    assert any(not torch.equal(value, one["current_model_state"][name]) for name, value in one["state_dict"].items())
    assert (whole.path / "metrics.json").read_text() == (parts.path / "metrics.json").read_text()


@pytest.mark.parametrize("value", [0.0, 1.0, -0.5, math.nan])
def test_a_decay_out_of_range_is_refused(value: float) -> None:
    with pytest.raises(UserError, match=r"ema\.decay=.* above 0 and below 1"):
        Averaging(decay=value)


def test_two_averages_are_refused(demo_stores: Path) -> None:
    theirs = "--trainer.callbacks=EMAWeightAveraging"
    with pytest.raises(UserError, match=r"ema\.decay=0\.9 and trainer\.callbacks both average"):
        cli.build(arguments(demo_stores, "--ema.decay=0.9", theirs))
