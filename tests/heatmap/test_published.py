"""Checkpoints of other repositories: names, switches, and what is refused.

The references below are written from the published layer definitions of psh (models/posenet.py and models/layers.py of
princeton-vl/pytorch_stacked_hourglass at 9844d5c89da4330cde805a8e0aed5180b3954e78) and, for bearpaw, from the names and
shapes of its parameters alone. They run on a state dict and know nothing of our modules.
"""

import argparse
import json
import os
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.testing import assert_close

from pose_lightning import weights
from pose_lightning.errors import UserError
from pose_lightning.heatmap import published
from pose_lightning.heatmap.model import StackedHourglass
from pose_lightning.heatmap.task import HeatmapEstimation
from pose_lightning.joints import COCO, MPII, JointSet

WIDTH = 16


class Reference:
    """A network as a function of a state dict, in double precision; weights that are not there yet are drawn."""

    def __init__(self) -> None:
        self.state: dict[str, Tensor] = {}
        self.generator = torch.Generator().manual_seed(4)

    def draw(self, name: str, *shape: int, scale: float, middle: float = 0.0) -> Tensor:
        if name not in self.state:
            self.state[name] = middle + scale * torch.randn(*shape, generator=self.generator)
        assert self.state[name].shape == shape
        return self.state[name].double()

    def conv(self, name: str, x: Tensor, width: int, kernel: int = 1, stride: int = 1) -> Tensor:
        weight = self.draw(f"{name}.weight", width, x.shape[1], kernel, kernel, scale=(x.shape[1] * kernel**2) ** -0.5)
        bias = self.draw(f"{name}.bias", width, scale=0.1)
        return F.conv2d(x, weight, bias, stride, kernel // 2)

    def norm(self, name: str, x: Tensor) -> Tensor:
        """Batch norm by its statistics, and the rectifier behind it."""
        mean = self.draw(f"{name}.running_mean", x.shape[1], scale=0.1)
        variance = self.draw(f"{name}.running_var", x.shape[1], scale=0.1, middle=1.0)
        gain = self.draw(f"{name}.weight", x.shape[1], scale=0.1, middle=1.0)
        bias = self.draw(f"{name}.bias", x.shape[1], scale=0.1)
        self.state[f"{name}.num_batches_tracked"] = torch.tensor(7)
        columns = [each[:, None, None] for each in (mean, variance, gain, bias)]
        return ((x - columns[0]) / (columns[1] + 1e-5).sqrt() * columns[2] + columns[3]).relu()


class Psh(Reference):
    def residual(self, name: str, x: Tensor, width: int) -> Tensor:
        y = self.conv(f"{name}.conv1.conv", self.norm(f"{name}.bn1", x), width // 2)
        y = self.conv(f"{name}.conv2.conv", self.norm(f"{name}.bn2", y), width // 2, 3)
        y = self.conv(f"{name}.conv3.conv", self.norm(f"{name}.bn3", y), width)
        skip = self.conv(f"{name}.skip_layer.conv", x, width)  # there is always one
        return y + (x if x.shape[1] == width else skip)

    def hourglass(self, name: str, x: Tensor, depth: int) -> Tensor:
        y = self.residual(f"{name}.low1", F.max_pool2d(x, 2), WIDTH)
        y = self.hourglass(f"{name}.low2", y, depth - 1) if depth > 1 else self.residual(f"{name}.low2", y, WIDTH)
        y = self.residual(f"{name}.low3", y, WIDTH)
        return self.residual(f"{name}.up1", x, WIDTH) + y.repeat_interleave(2, -1).repeat_interleave(2, -2)

    def __call__(self, image: Tensor, stacks: int) -> Tensor:
        x = self.norm("pre.0.bn", self.conv("pre.0.conv", image, WIDTH // 4, 7, 2))
        x = F.max_pool2d(self.residual("pre.1", x, WIDTH // 2), 2)
        x = self.residual("pre.4", self.residual("pre.3", x, WIDTH // 2), WIDTH)
        found = []
        for stack in range(stacks):
            y = self.residual(f"features.{stack}.0", self.hourglass(f"hgs.{stack}.0", x, 4), WIDTH)
            y = self.norm(f"features.{stack}.1.bn", self.conv(f"features.{stack}.1.conv", y, WIDTH))
            found.append(self.conv(f"outs.{stack}.conv", y, 16))
            if stack < stacks - 1:
                x = x + self.conv(f"merge_preds.{stack}.conv.conv", found[-1], WIDTH)
                x = x + self.conv(f"merge_features.{stack}.conv.conv", y, WIDTH)
        return torch.stack(found, 1)


class Bearpaw(Reference):
    MEAN = torch.tensor([0.4404, 0.4440, 0.4327])

    def residual(self, name: str, x: Tensor, width: int) -> Tensor:
        y = self.conv(f"{name}.0.conv1", self.norm(f"{name}.0.bn1", x), width // 2)
        y = self.conv(f"{name}.0.conv2", self.norm(f"{name}.0.bn2", y), width // 2, 3)
        y = self.conv(f"{name}.0.conv3", self.norm(f"{name}.0.bn3", y), width)
        return y + (x if x.shape[1] == width else self.conv(f"{name}.0.downsample.0", x, width))

    def hourglass(self, name: str, x: Tensor, depth: int) -> Tensor:
        """Of the parts, 0 passes by, 1 goes down, 2 comes up, and the innermost level has a 3 between them."""
        part = f"{name}.hg.{depth - 1}"
        y = self.residual(f"{part}.1", F.max_pool2d(x, 2), WIDTH)
        y = self.hourglass(name, y, depth - 1) if depth > 1 else self.residual(f"{part}.3", y, WIDTH)
        y = self.residual(f"{part}.2", y, WIDTH)
        return self.residual(f"{part}.0", x, WIDTH) + y.repeat_interleave(2, -1).repeat_interleave(2, -2)

    def __call__(self, image: Tensor, stacks: int) -> Tensor:
        x = self.norm("bn1", self.conv("conv1", image - self.MEAN[:, None, None], WIDTH // 4, 7, 2))
        x = F.max_pool2d(self.residual("layer1", x, WIDTH // 2), 2)
        x = self.residual("layer3", self.residual("layer2", x, WIDTH), WIDTH)
        found = []
        for stack in range(stacks):
            y = self.residual(f"res.{stack}", self.hourglass(f"hg.{stack}", x, 4), WIDTH)
            y = self.norm(f"fc.{stack}.1", self.conv(f"fc.{stack}.0", y, WIDTH))
            found.append(self.conv(f"score.{stack}", y, 16))
            if stack < stacks - 1:
                x = x + self.conv(f"fc_.{stack}", y, WIDTH) + self.conv(f"score_.{stack}", found[-1], WIDTH)
        return torch.stack(found, 1)


REFERENCES: dict[str, Callable[[], Any]] = {"psh": Psh, "bearpaw": Bearpaw}
IMAGE = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def checkpoint(name: str, stacks: int = 2, prefix: str = "") -> tuple[dict[str, Tensor], Tensor]:
    """A state dict under the repository's names, and what its network makes of `IMAGE`."""
    reference = REFERENCES[name]()
    heatmaps = reference(IMAGE, stacks)
    return {prefix + key: value for key, value in reference.state.items()}, heatmaps


@pytest.mark.parametrize("stacks", [1, 3])
@pytest.mark.parametrize("name", REFERENCES)
def test_given_the_same_weights_the_outputs_agree(name: str, stacks: int) -> None:
    state, heatmaps = checkpoint(name, stacks)
    network = published.convert(state, name, source="checkpoint.pth.tar")
    with torch.no_grad():
        assert_close(network.double()(IMAGE), heatmaps, atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("stacks", [1, 2, 8])
@pytest.mark.parametrize("name", REFERENCES)
def test_every_module_of_ours_has_one_name_there(name: str, stacks: int) -> None:
    with torch.device("meta"):
        network = StackedHourglass(16, stacks, wide_stem=name == "bearpaw")
    names = published.mapping(name, stacks)
    ours = {part for part, module in network.named_modules() if any(True for _ in module.parameters(recurse=False))}
    assert set(names.values()) == ours
    assert len(set(names.values())) == len(names)


def test_the_wide_stem_gives_bearpaws_number_of_parameters() -> None:
    with torch.device("meta"):
        network = StackedHourglass(16, 8, wide_stem=True)
    assert sum(parameter.numel() for parameter in network.parameters()) / 1e6 == pytest.approx(25.59, abs=5e-3)


def test_both_mirror_joints_as_mpii_does() -> None:
    assert MPII.mirrored == (5, 4, 3, 2, 1, 0, 6, 7, 8, 9, 15, 14, 13, 12, 11, 10)  # psh: data/MPII/ref.py


@pytest.mark.parametrize("prefix", ["", "module.", "model.module."])
def test_what_a_trainer_wraps_around_the_weights_does_not_matter(tmp_path: Path, prefix: str) -> None:
    state, heatmaps = checkpoint("psh", prefix=prefix)
    about = {"epoch": 3, "best_acc": np.float64(0.9), "args": argparse.Namespace(exp="pose", lr=1e-3)}
    optimizer = {"state": {0: {"step": 3, "exp_avg": torch.ones(2)}}, "param_groups": [{"lr": 1e-3, "params": [0]}]}
    torch.save({"state_dict": state, "optimizer": optimizer, **about}, tmp_path / "checkpoint.pth.tar")
    target = tmp_path / "weights" / "psh.safetensors"
    arguments = [str(tmp_path / "checkpoint.pth.tar"), "--format", "psh", "--target", str(target)]
    assert published.main(arguments) == 0
    network = StackedHourglass.from_weights(target)
    assert not network.training
    with torch.no_grad():
        assert_close(network.double()(IMAGE), heatmaps, atol=1e-9, rtol=1e-9)
    assert [path.name for path in target.parent.iterdir()] == ["psh.safetensors"]
    (plain := tmp_path / "plain").touch()
    assert target.stat().st_mode == plain.stat().st_mode  # whoever reads the folder's files reads this one


def test_a_checkpoint_of_an_old_pytorch_and_an_old_numpy_is_read(tmp_path: Path) -> None:
    state, heatmaps = checkpoint("bearpaw", prefix="module.")
    best = {"epoch": 90, "best_acc": np.float32(0.9), "arch": "hg"}
    path = tmp_path / "model_best.pth.tar"
    torch.save({**best, "state_dict": state}, path, _use_new_zipfile_serialization=False)
    path.write_bytes(path.read_bytes().replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n"))
    network = published.convert(weights.read(path), "bearpaw", source=path.name)
    with torch.no_grad():
        assert_close(network.double()(IMAGE), heatmaps, atol=1e-9, rtol=1e-9)


class Elsewhere:
    """A class that a checkpoint has no business naming."""


def test_a_checkpoint_that_names_other_classes_is_refused_by_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save({"state_dict": checkpoint("psh")[0], "args": Elsewhere()}, path := tmp_path / "checkpoint.pth.tar")
    assert published.main([str(path), "--format=psh", f"--target={tmp_path / 'out.safetensors'}"]) == 2
    assert "Elsewhere" in (said := capsys.readouterr().err)
    assert "run code" in said
    assert not (tmp_path / "out.safetensors").exists()


class Command:
    """Pickled, it asks for a command to be run."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("true",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"state_dict": {}, "args": Command()}, r"is not read: it holds \w+\.system, which runs commands"),
        (b"<html>Virus scan warning</html>", "it is damaged, or torch.save did not write it"),
        (b"", "it is damaged, or torch.save did not write it"),
        ({7: torch.ones(2)}, "a mapping of names to tensors is wanted"),
    ],
    ids=["command", "web page", "empty", "numbers for names"],
)
def test_a_file_that_is_no_checkpoint_is_refused_in_one_line(tmp_path: Path, content: Any, message: str) -> None:
    path = tmp_path / "checkpoint.pth.tar"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    with pytest.raises(UserError, match=message) as refusal:
        weights.read(path)
    assert "weights_only" not in str(refusal.value)  # PyTorch's own words are to switch it off
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("target", ["file/out.safetensors", "folder.safetensors"])
def test_a_target_that_cannot_be_written_is_named_and_leaves_nothing(tmp_path: Path, target: str) -> None:
    torch.save(checkpoint("psh", 1)[0], tmp_path / "checkpoint.pth.tar")
    (tmp_path / "file").touch()
    (tmp_path / "folder.safetensors").mkdir()
    before = sorted(tmp_path.iterdir())
    with pytest.raises(UserError, match=rf"--target .*{target} cannot be written"):
        published.write(tmp_path / "checkpoint.pth.tar", "psh", tmp_path / target)
    assert sorted(tmp_path.iterdir()) == before


def test_the_file_says_what_it_is_and_survives_a_round_trip(tmp_path: Path) -> None:
    state, _ = checkpoint("bearpaw")
    torch.save({"state_dict": state}, tmp_path / "hg_s2_b1.pth.tar")
    published.write(tmp_path / "hg_s2_b1.pth.tar", "bearpaw", target := tmp_path / "bearpaw.safetensors")
    with safe_open(target, framework="pt") as file:
        about = file.metadata()
    assert about["format"] == '"bearpaw"'
    assert about["file"] == '"hg_s2_b1.pth.tar"'
    assert JointSet.read(json.loads(about["joint_set"]), target) == MPII
    first = StackedHourglass.from_weights(target)
    assert first.settings == {
        "stacks": 2,
        "features": WIDTH,
        "joints": 16,
        "depth": 4,
        "wide_stem": True,
        "image_mean": (0.4404, 0.4440, 0.4327),
    }
    first.save_weights(tmp_path / "again.safetensors")
    with torch.no_grad():
        assert torch.equal(
            StackedHourglass.from_weights(tmp_path / "again.safetensors")(IMAGE.float()), first(IMAGE.float())
        )


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("psh", {"hgs.0.0.up1.conv1.conv.weight": None}, r"lacks 1 of \d+ weights, such as hgs\.0\.0\.up1\.conv1"),
        ("psh", {"pre.9.weight": torch.ones(1)}, r"has 1 weights that the network has not, such as pre\.9\.weight"),
        ("psh", {"pre.0.conv.bias": torch.ones(9)}, r"another shape, such as pre\.0\.conv\.bias"),
        ("psh", {"pre.0.conv.weight": None}, r"has no pre\.0\.conv\.weight, so it is no hourglass of princeton-vl"),
        ("psh", {"outs.0.conv.weight": None}, r"has no outs\.0\.conv\.weight"),
        ("psh", {"outs.0.conv.weight": torch.ones(17, WIDTH, 1, 1)}, "gives 17 heatmaps"),
        (
            "psh",
            {"outs.0.conv.weight": torch.ones(16)},
            r"checkpoint.*outs\.0\.conv\.weight has the shape \[16\]; wanted",
        ),
        ("psh", {"outs.0.conv.weight": torch.ones(16, 18, 1, 1)}, r"\[16, 18, 1, 1\].* multiple of 4"),
        ("psh", {"pre.1.bn1.running_var": torch.full((4,), torch.inf)}, r"pre\.1\.bn1\.running_var is not finite"),
        ("bearpaw", {"layer1.1.bn1.weight": torch.ones(8)}, r"one residual per module: .* such as layer1\.1\.bn1"),
    ],
)
def test_a_state_dict_that_does_not_fit_is_refused_by_name(
    name: str, change: dict[str, Tensor | None], message: str
) -> None:
    state = {key: value for key, value in (checkpoint(name)[0] | change).items() if value is not None}
    with pytest.raises(UserError, match=message):
        published.convert(state, name, source="checkpoint.pth.tar")


def test_the_wrong_format_is_told() -> None:
    with pytest.raises(UserError, match="it looks like --format bearpaw"):
        published.convert(checkpoint("bearpaw", prefix="module.")[0], "psh", source="hg.pth.tar")


def test_the_target_is_safetensors(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"out\.pth must end in \.safetensors"):
        published.write(tmp_path / "in.pth", "psh", tmp_path / "out.pth")


@pytest.fixture
def converted(tmp_path: Path) -> Path:
    torch.save({"state_dict": checkpoint("bearpaw")[0]}, tmp_path / "hg.pth.tar")
    published.write(tmp_path / "hg.pth.tar", "bearpaw", target := tmp_path / "bearpaw.safetensors")
    return target


def test_fine_tuning_starts_from_the_file(converted: Path) -> None:
    switches: dict[str, Any] = {"wide_stem": True, "image_mean": (0.4404, 0.4440, 0.4327)}
    task = HeatmapEstimation(
        weights=converted, network=partial(StackedHourglass, stacks=2, features=WIDTH, **switches)
    ).eval()
    with torch.no_grad():
        assert torch.equal(task(IMAGE.float()), StackedHourglass.from_weights(converted)(IMAGE.float()))


def test_fine_tuning_another_network_than_the_files_names_the_flags(converted: Path) -> None:
    words = ("--model.network.stacks=2", "--model.network.wide_stem=true", "--model.network.image_mean=[0.4404,")
    flags = re.escape(" ".join(words))
    with pytest.raises(UserError, match=f"set {flags}"):
        HeatmapEstimation(weights=converted, network=partial(StackedHourglass, stacks=1, features=WIDTH))


def test_weights_that_do_not_say_what_they_are_of_cannot_be_used_alone(tmp_path: Path) -> None:
    torch.save({"state_dict": checkpoint("psh")[0]}, path := tmp_path / "checkpoint.pth.tar")
    with pytest.raises(UserError, match=r"heatmap\.published FILE --format psh\|bearpaw"):
        StackedHourglass.from_weights(path)
    with pytest.raises(UserError, match="there is no such file"):
        StackedHourglass.from_weights(tmp_path / "absent.safetensors")
    with pytest.raises(UserError, match=r"does not fit the network.*heatmap\.published"):
        HeatmapEstimation(weights=path, network=partial(StackedHourglass, stacks=2, features=WIDTH))


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"settings": '{"stacks": 2}'}, "metadata are damaged"),
        ({"settings": "["}, "metadata are damaged"),
        ({"joint_set": '["nose"]'}, "of its joint set"),
        ({"joint_set": json.dumps(COCO.plain())}, "is of 17 joints and 16 heatmaps"),
        ({"network": '"resnet"'}, "wanted hourglass"),
        ({"settings": None}, "does not say which network it is of"),
        (
            {"settings": '{"stacks":1,"features":16,"joints":16,"depth":4,"wide_stem":true,"image_mean":[0,0,0]}'},
            "says",
        ),
    ],
    ids=["incomplete", "no JSON", "no joints", "other joints", "other network", "silent", "other sizes"],
)
def test_a_file_that_says_something_wrong_is_refused(
    converted: Path, tmp_path: Path, facts: dict[str, str | None], message: str
) -> None:
    with safe_open(converted, framework="pt") as file:
        about = {key: value for key, value in (file.metadata() | facts).items() if value is not None}
    save_file(load_file(converted), path := tmp_path / "changed.safetensors", metadata=about)
    with pytest.raises(UserError, match=message):
        StackedHourglass.from_weights(path)


def test_evaluate_scores_the_file_on_a_store(
    converted: Path, demo_stores: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from pose_lightning import evaluate  # noqa: PLC0415 - above the heatmap's layer, so asked for here alone

    store, out = demo_stores / "val.h5", tmp_path / "scores.json"
    evaluate.main([f"--weights={converted}", f"--store={store}", "--input-size=64", f"--json={out}"])
    said = capsys.readouterr().out
    assert "bearpaw" in said
    assert '"weights": "bearpaw.safetensors"' in out.read_text()
