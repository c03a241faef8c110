"""What is written, read back."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from pose_lightning import cli, trained
from pose_lightning.errors import UserError
from pose_lightning.export import main
from pose_lightning.export.door import samples, write
from pose_lightning.export.formats import FACTS, FORMATS
from pose_lightning.export.networks import Exportable
from pose_lightning.exported import facts
from pose_lightning.exported.facts import Facts
from pose_lightning.heatmap.model import StackedHourglass
from pose_lightning.joints import H36M, MPII
from pose_lightning.runs import RunDirectory
from pose_lightning.weights import read_metadata
from tests.room import room


class Double(nn.Module):
    """Twice the image, in one number per picture, and what `noise` adds."""

    def __init__(self, noise: float) -> None:
        super().__init__()
        self.factor, self.noise = nn.Parameter(torch.tensor(2.0)), noise

    def forward(self, image: Tensor) -> Tensor:
        seen: Tensor = self.factor * image.mean(dim=(1, 2, 3), keepdim=True)
        return seen + self.noise * torch.rand_like(seen) if self.noise else seen


def double(noise: float = 0.0) -> Exportable:
    network = Double(noise).eval()
    about = Facts(
        task="activity",
        experiment="double",
        checkpoint="best.ckpt",
        step=3,
        synthetic=None,
        input=facts.Tensor("image", (3, 8, 8), "RGB"),
        output=facts.Tensor("answer", (1, 1, 1), "a mean"),
        details={"note": "größer"},
    )
    return Exportable(network, network, about)


@pytest.mark.parametrize("form", sorted(FORMATS))
def test_every_format_keeps_the_answers_and_the_facts(form: Any, tmp_path: Path) -> None:
    path = tmp_path / "deep" / f"double{FORMATS[form].suffix}"
    agreement = write(double(), form, path)
    assert agreement.holds
    assert agreement.samples == 4
    assert [each.name for each in path.parent.iterdir()] == [path.name]
    (tmp_path / "other").touch()
    assert path.stat().st_mode == (tmp_path / "other").stat().st_mode
    ask = FORMATS[form].read(double(), path)
    batch = samples(5, (3, 8, 8))
    assert_close(ask(batch), 2 * batch.mean(dim=(1, 2, 3), keepdim=True))
    assert read_facts(form, path) == double().facts


def read_facts(form: str, path: Path) -> Facts:
    """As someone else would."""
    if form == "onnx":
        import onnx  # noqa: PLC0415

        metadata = {each.key: each.value for each in onnx.load(path).metadata_props}
    elif form == "exported-program":
        extra = {FACTS: ""}
        torch.export.load(path, extra_files=extra)
        metadata = json.loads(extra[FACTS])
    else:
        metadata = read_metadata(path)
    return Facts.from_metadata(metadata, path)


def test_a_file_that_says_something_else_is_not_kept(tmp_path: Path) -> None:
    path = tmp_path / "noisy.pt2"
    path.write_text("of before")
    with pytest.raises(UserError, match=r"noisy\.pt2 is not kept: .* samples differ by at most"):
        write(double(noise=0.1), "exported-program", path)
    assert [each.name for each in tmp_path.iterdir()] == ["noisy.pt2"]
    assert path.read_text() == "of before"


@pytest.mark.parametrize("missing", ["onnxscript", "onnxruntime"])
def test_a_missing_extra_is_named(missing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(UserError, match=rf"needs {missing}, .*pose_lightning\[export\]"):
        write(double(), "onnx", tmp_path / "double.onnx")
    assert not any(tmp_path.iterdir())


def test_more_than_an_onnx_file_holds_is_refused(tmp_path: Path) -> None:
    network = double()
    with torch.device("meta"):
        network.answer.register_buffer("large", torch.empty(600_000_000))
    with pytest.raises(UserError, match=r"the weights are 2\.4 GB, and one ONNX file holds 2 GB"):
        write(network, "onnx", tmp_path / "double.onnx")
    assert not any(tmp_path.iterdir())


def test_a_network_that_diverged_is_not_exported(tmp_path: Path) -> None:
    network = double()
    with torch.no_grad():
        network.answer.factor.fill_(torch.nan)
    with pytest.raises(UserError, match=r"double \(best\.ckpt, step 3\) gives numbers that are none"):
        write(network, "safetensors", tmp_path / "double.safetensors")
    assert not any(tmp_path.iterdir())


class Interrupted(Double):
    """As when the user presses Ctrl-C."""

    def forward(self, image: Tensor) -> Tensor:
        raise KeyboardInterrupt


def test_an_interrupted_export_leaves_the_file_of_before(tmp_path: Path) -> None:
    path = tmp_path / "double.safetensors"
    path.write_text("of before")
    network = replace(double(), answer=Interrupted(noise=0.0))
    with pytest.raises(KeyboardInterrupt):
        write(network, "safetensors", path)
    assert [each.name for each in tmp_path.iterdir()] == [path.name]
    assert path.read_text() == "of before"


def test_a_folder_is_no_place_for_a_file(tmp_path: Path) -> None:
    (tmp_path / "double.safetensors").mkdir()
    with pytest.raises(UserError, match=r"double\.safetensors is a folder; name a file"):
        write(double(), "safetensors", tmp_path / "double.safetensors")


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match=r"file/double\.safetensors cannot be written"):
        write(double(), "safetensors", tmp_path / "file" / "double.safetensors")


def test_a_name_that_readers_cannot_open_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no UTF-8"):
        write(double(), "safetensors", tmp_path / os.fsdecode(b"b\xff.safetensors"))
    assert not [*tmp_path.iterdir()]
    write(double(), "safetensors", tmp_path / "größe.safetensors")


@pytest.mark.parametrize("task", ["heatmap", "regression", "activity"])
def test_a_network_says_what_it_takes_and_gives(task: str, exportables: dict[str, Exportable]) -> None:
    about = exportables[task].facts
    shapes = {
        "heatmap": ((3, 64, 64), (16, 16, 16)),
        "regression": ((8, 3, 32, 32), (8, 17, 3)),
        "activity": ((3, 32, 32), (len(about.details.get("classes", ())),)),
    }
    assert (about.input.shape, about.output.shape) == shapes[task]
    assert (about.task, about.experiment, about.checkpoint, about.step) == (task, "tiny", "best.ckpt", 7)
    assert about.synthetic is True
    assert Facts.from_metadata(about.to_metadata(), Path("file")) == about
    joint_sets = {"heatmap": MPII.plain(), "regression": H36M.plain()}
    assert about.details.get("joint_set") == joint_sets.get(task)


def test_an_exported_program_is_asked_without_this_package(exportables: dict[str, Exportable], tmp_path: Path) -> None:
    path = tmp_path / "heatmap.pt2"
    write(exportables["heatmap"], "exported-program", path)
    batch = samples(3, (3, 64, 64))
    asked = (
        "import sys, torch; answers = torch.export.load(sys.argv[1]).module()(torch.load(sys.argv[2])); "
        "torch.save(answers, sys.argv[2]); assert 'pose_lightning' not in sys.modules"
    )
    torch.save(batch, tmp_path / "batch.pt")
    subprocess.run([sys.executable, "-c", asked, str(path), str(tmp_path / "batch.pt")], check=True)
    with torch.no_grad():
        assert_close(torch.load(tmp_path / "batch.pt"), exportables["heatmap"].answer(batch))


def test_weights_of_a_hourglass_make_the_hourglass_again(
    runs: dict[str, RunDirectory], exportables: dict[str, Exportable], capsys: pytest.CaptureFixture[str]
) -> None:
    main([str(runs["heatmap"].path), "--format", "safetensors"])
    path = runs["heatmap"].path / "exports" / "tiny.safetensors"
    said = capsys.readouterr().out
    assert str(path) in said
    assert "SYNTHETIC" in said
    assert "differ by at most 0," in said
    image = samples(2, (3, 64, 64))
    with torch.no_grad():
        assert_close(StackedHourglass.from_weights(path)(image)[:, -1], exportables["heatmap"].answer(image))
    main_arguments = [f"--config={runs['heatmap'].config}", f"--model.weights={path}"]
    again: Any = cli.build(main_arguments).model
    loaded = trained.load(runs["heatmap"])[0].model.state_dict()
    assert all(torch.equal(value, loaded[key]) for key, value in again.state_dict().items() if key.startswith("model."))


def test_weights_of_an_activity_network_start_another_one(runs: dict[str, RunDirectory], tmp_path: Path) -> None:
    path = tmp_path / "activity.safetensors"
    main([str(runs["activity"].path), "--format", "safetensors", "--out", str(path)])
    again: Any = cli.build([f"--config={runs['activity'].config}", f"--model.weights={path}", "--seed_everything=9"])
    kept: Any = trained.load(runs["activity"])[0].model
    for key, value in again.model.model.backbone.state_dict().items():
        assert torch.equal(value, kept.model.backbone.state_dict()[key]), key


def test_weights_of_a_clip_network_come_with_their_targets(runs: dict[str, RunDirectory], tmp_path: Path) -> None:
    path = tmp_path / "clips.safetensors"
    main([str(runs["regression"].path), "--format", "safetensors", "--out", str(path)])
    from safetensors.numpy import load_file  # noqa: PLC0415

    found, kept = load_file(path), trained.load(runs["regression"])[0].model
    assert np.array_equal(found["targets.scale"], kept.targets.scale.numpy())
    assert found["temporal.layers.weight_ih_l0"].shape == kept.model.temporal.layers.weight_ih_l0.shape


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--format", "onnx", "--out", "file.pt2"], "files of --format onnx end with .onnx"),
        (["--format", "safetensors", "--out", "file"], "end with .safetensors"),
    ],
    ids=["onnx", "none"],
)
def test_another_suffix_is_refused(
    arguments: list[str], message: str, runs: dict[str, RunDirectory], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        main([str(runs["heatmap"].path), *arguments])
    assert stop.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("form", sorted(FORMATS))
@pytest.mark.parametrize("size", [0, 300])
def test_a_full_disk_leaves_the_file_before_it(form: Any, size: int, tmp_path: Path) -> None:
    path = tmp_path / f"double{FORMATS[form].suffix}"
    path.write_text("the one before")
    with room(size), pytest.raises(UserError, match=rf"{path.name} cannot be written: .*larger than this system"):
        write(double(), form, path)
    assert path.read_text() == "the one before"
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_nothing_is_exported_through_a_link(
    runs: dict[str, RunDirectory], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = RunDirectory(Path(shutil.copytree(runs["heatmap"].path, tmp_path / "run")))
    shutil.rmtree(run.path / "exports", ignore_errors=True)
    (run.path / "exports").symlink_to(tmp_path)
    with pytest.raises(SystemExit) as stop:
        main([str(run.path), "--format", "safetensors"])
    assert stop.value.code == 2
    assert "exports is a link" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
