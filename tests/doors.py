"""The doors that write, each with what it needs, for the tests of what else may happen meanwhile."""

import csv
import hashlib
import json
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Final

import h5py
import numpy as np
import torch
import yaml
from scipy.io import savemat

from pose_lightning import fit
from pose_lightning.convert import demo
from tests.convert import test_human36m, test_images, test_lsp
from tests.fuzz.formats import make
from tests.predict.test_films import write_video
from tests.warm import ROOT, Job, Warm

Snapshot = Mapping[str, str]

PASSING: Final = re.compile(
    r"(^|/)(log\.txt|cost\.json|lock|loss\.png|wandb/.*|study\.db.*|[^/]*\.log|trial\.json|\.lock-[^/]*)$"
    r"|^sweeping/runs/sweeps/tiny/(place|runner\.lock|study\.json|results\.\w+|trials/.*/(config\.yaml|output\.txt))$"
)
"""Files whose content differs from run to run, or that may hold a beginning."""

UNFINISHED: Final = re.compile(r"\.partial|(?<!/study)(?<!/runner)\.lock$|\.old$|\.tmp$")


@dataclass(frozen=True)
class Case:
    """A door that writes.

    Attributes:
        door: Key of `warm.DOORS`.
        args: Its arguments; `{inputs}` is the folder of the files that `make` writes.
        other: Arguments of the second process, which may write the same into other words.
        copies: Folders of `inputs` that it writes into, which are copied.
        seconds: After so many it hangs.
        quick: Whether `make test` tries it.
    """

    door: str
    args: str
    other: str | None = None
    copies: Sequence[str] = ()
    seconds: float = 60.0
    quick: bool = False

    @property
    def once(self) -> bool:
        """Whether a second call goes on with what the first one left, or refuses it."""
        return self.door in ("fit", "sweep")

    def jobs(self, inputs: Path, folder: Path, **more: Any) -> tuple[Job, Job]:
        """The two processes."""
        lines = (self.args, self.args if self.other is None else self.other)
        first, second = (
            Job(self.door, line.format(inputs=inputs).split(), str(folder), self.seconds, **more) for line in lines
        )
        return first, second

    def prepare(self, inputs: Path, folder: Path) -> Path:
        """A working directory."""
        folder.mkdir(parents=True, exist_ok=True)
        for name in self.copies:
            if (inputs / name).is_symlink():
                (folder / name).symlink_to((inputs / name).readlink())
            else:
                shutil.copytree(inputs / name, folder / name)
        return folder


_EXPERIMENT: Final = "experiments/hourglass_mpii.yaml"
_COCO: Final = "coco --annotations {inputs}/birds.json --images {inputs}/birds/images --target out --crop 56 --box 32"
_TINY: Final = (
    f"--config={ROOT}/{_EXPERIMENT} --config={ROOT}/experiments/demo/hourglass_mpii.yaml"
    " --model.network.stacks=1 --model.network.features=8 --model.network.depth=1"
    " --data.input_size=64 --data.batch_size=6"
    " --data.num_threads=0 --data.root={inputs}/pose --trainer.max_steps=4 --trainer.max_epochs=-1 --model.warmup=6"
    " --trainer.val_check_interval=2 --trainer.check_val_every_n_epoch=1 --checkpoint.every_n_steps=1"
    " --trainer.log_every_n_steps=1 --trainer.accelerator=cpu --trainer.enable_progress_bar=false --pictures.every=0"
)
CASES: Final = {
    "convert mpii": Case(
        "convert", "mpii --annotations {inputs}/people.mat --labels-only --validation 0.3 --target out",
        "mpii --annotations {inputs}/people.mat --labels-only --validation 0.5 --target out",
    ),
    "convert mpii --activities": Case(
        "convert", "mpii --activities {inputs}/many.mat --labels-only --target out --test 0.3 --validation 0.3",
        "mpii --activities {inputs}/many.mat --labels-only --target out --test 0.3 --validation 0.4",
    ),
    "convert lsp": Case(
        "convert", "lsp --source {inputs}/lsp --target out --crop 56 --box 32",
        "lsp --source {inputs}/lsp --target out --crop 56 --box 32 --seed 1",
    ),
    "convert coco": Case(
        "convert", _COCO, _COCO + " --seed 1",
    ),
    "convert human36m": Case(
        "convert", "human36m --source {inputs}/human36m --target out --frames 4 --stride 2 --every 8 --size 32",
        "human36m --source {inputs}/human36m --target out --frames 4 --stride 2 --every 16 --size 32",
    ),
    "convert clips": Case(
        "convert", "clips --frames {inputs}/frames.npy --joints {inputs}/joints.npy --split val --target out",
        "clips --frames {inputs}/frames.npy --joints {inputs}/joints.npy --split val --target out --codec jpeg",
        quick=True,
    ),
    "convert images": Case(
        "convert", "images --source {inputs}/images --target out",
        "images --source {inputs}/images --target out --seed 1",
    ),
    "convert demo mpii": Case(
        "convert", "demo --only mpii --people 30 --target out", "demo --only mpii --people 30 --seed 1 --target out",
    ),
    "convert demo activity": Case(
        "convert", "demo --only activity --people 60 --target out",
        "demo --only activity --people 60 --seed 3 --target out",
    ),
    "published": Case("published", "{inputs}/hg.pth.tar --format psh --target out.safetensors"),
    "export onnx": Case("export", "run --format onnx", copies=["run"]),
    "export exported-program": Case("export", "run --format exported-program", copies=["run"]),
    "export safetensors": Case("export", "run --format safetensors", copies=["run"]),
    "evaluate RUN": Case("evaluate", "run", "run --flip-test", copies=["run"]),
    "evaluate --overlays": Case("evaluate", "run --overlays 2", copies=["run"]),
    "evaluate --predictions": Case(
        "evaluate", "--predictions {inputs}/preds.npy --store {inputs}/pose.h5 --origin 0 --json out.json",
        "--predictions {inputs}/preds.npy --store {inputs}/pose.h5 --origin 1 --json out.json",
    ),
    "report": Case("report", "scored", "scored --without-network", copies=["scored"], quick=True),
    "browse": Case("browse", "{inputs}/pose.h5 --out out.html", "{inputs}/pose.h5 --out out.html --limit 2"),
    "compare": Case("compare", "{inputs}/scored --out out"),
    "predict pictures": Case(
        "predict", "run {inputs}/photograph.png --out out", "run {inputs}/photograph.png --out out --flip-test",
        copies=["run"], quick=True,
    ),
    "predict --json": Case(
        "predict", "run {inputs}/photograph.png --out out --json numbers.json",
        "run {inputs}/photograph.png --out other --json numbers.json", copies=["run"],
    ),
    "predict a film": Case("predict", "run {inputs}/film.mp4 --out out", copies=["run"]),
    "fit --run_dir": Case("fit", _TINY + " --run_dir=out --wandb.mode=disabled", seconds=120),
    "fit --resume": Case("fit", "--resume finished --trainer.max_steps=8", copies=["finished"], seconds=120),
    "sweep": Case(
        "sweep", "sweeping/tiny.yaml --data real --slots 1 --runs sweeping/runs", copies=["sweeping", "experiments"],
        seconds=240,
    ),
}  # fmt: skip


def digest(path: Path) -> str:
    """Of what a file says, without the bytes that differ between two runs of one command."""
    try:
        return _digest(path)
    except (OSError, RuntimeError, UnpicklingError) as error:
        return f"damaged: {error}"


def _digest(path: Path) -> str:
    if path.suffix == ".h5":
        parts: list[str] = []
        with h5py.File(path) as file:
            parts += [f"{key}={value!r}" for key, value in sorted(file.attrs.items())]
            file.visititems(lambda key, item: parts.append(key + repr(getattr(item, "dtype", ""))))
            file.visititems(lambda key, item: parts.append(_dataset(item)))
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()
    if path.suffix == ".ckpt":
        content = torch.load(path, map_location="cpu", weights_only=True)
        weights = {key: value.tolist() for key, value in content["state_dict"].items()}
        return hashlib.sha256(json.dumps([content["global_step"], weights]).encode()).hexdigest()
    if path.name == "metrics.csv":
        rows = list(csv.DictReader(path.read_text().splitlines()))
        return hashlib.sha256(json.dumps([row.get("train/loss_step") for row in rows]).encode()).hexdigest()
    if path.suffix in (".pt2", ".onnx", ".html"):
        return path.suffix if path.stat().st_size > 100 else "cut short"
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _dataset(item: Any) -> str:
    if not isinstance(item, h5py.Dataset):
        return ""
    values = item[()]
    return repr(values.tolist() if isinstance(values, np.ndarray) else values)


def snapshot(folder: Path) -> Snapshot:
    """Digests of the files below a folder; links are not followed."""
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file() and not path.is_symlink()]
    names = {str(path.relative_to(folder)): path for path in paths}
    return {name: "present" if PASSING.search(name) else digest(path) for name, path in names.items()}


def unfinished(folder: Path) -> list[str]:
    """Names of files that a writer left behind."""
    names = [str(path.relative_to(folder)) for path in folder.rglob("*")]
    return sorted(name for name in names if UNFINISHED.search(name) and not name.startswith("wandb/"))


def alone(case: Case, inputs: Path, folder: Path, process: Warm, *, existing: bool) -> list[Snapshot]:
    """The files that each of the two leaves alone in the folder, over those of the first one if `existing`."""
    left = []
    for place in (0, 1):
        work = case.prepare(inputs, folder / f"alone{place}")
        jobs = case.jobs(inputs, work)
        for job in (jobs[0], jobs[place]) if existing else (jobs[place],):
            outcome = process.run(job)[0]
            assert outcome.code == 0, outcome.err
        assert not unfinished(work)
        left.append(snapshot(work))
    return left


def make_inputs(folder: Path, pose_stores: Path) -> None:
    """Write the files that the doors read."""
    make(folder, pose_stores)
    shutil.copytree(pose_stores, folder / "pose")
    test_lsp.write_images(folder / "lsp", 4)
    flags = np.zeros((test_lsp.PHOTOGRAPHS, 14, 1))
    joints = np.concatenate([test_lsp.points(), flags], axis=2).transpose(2, 1, 0)
    savemat(folder / "lsp" / "joints.mat", {"joints": joints})
    test_images.make_tree(folder / "images", 12, 12)


def complete(folder: Path) -> None:
    """Add to the files what only the slow cases read."""
    if (folder / "film.mp4").exists():
        return
    drawn = demo.planned(80, seed=1)
    demo.write_annotations(
        folder / "many.mat", drawn, [demo.scenes.drawn(frame.video, frame.index)[1] for frame in drawn]
    )
    (folder / "human36m").mkdir()
    test_human36m.write_metadata(folder / "human36m" / "metadata.xml")
    for number, subject in enumerate(("S1", "S9")):
        test_human36m.write_sequence(folder / "human36m", subject, "Walking 1", seed=number, frames=16)
    fit.fit([*_TINY.format(inputs=folder).split(), f"--run_dir={folder}/finished", "--wandb.mode=disabled"])
    sweeping = folder / "sweeping"
    sweeping.mkdir()
    (folder / "experiments").symlink_to(ROOT / "experiments")
    values = dict(flag[2:].split("=", 1) for flag in _TINY.format(inputs=folder).split() if "--config" not in flag)
    sweep = {
        "program": "pose_lightning/fit.py",
        "command": ["${env}", "${interpreter}", "-m", "pose_lightning.fit", f"--config={_EXPERIMENT}", "${args}"],
        "method": "grid",
        "metric": {"name": "val/pckh", "goal": "maximize"},
        "parameters": {
            "model.lr": {"values": [1e-3, 1e-2]},
            "seed_everything": {"values": [1]},
            "wandb.mode": {"value": "disabled"},
            **{key: {"value": yaml.safe_load(value)} for key, value in values.items()},
        },
    }
    (sweeping / "tiny.yaml").write_text(yaml.safe_dump(sweep))
    write_video(folder / "film.mp4", [40, 90, 140])
