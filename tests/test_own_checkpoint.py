"""A checkpoint knows its run: its settings, its stores, and the facts of its data."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import pytorch_lightning as pl
import torch
import yaml
from torch.testing import assert_close

from pose_lightning import cli, evaluate, fit, trained
from pose_lightning.activity.data import ActivityData
from pose_lightning.errors import UserError
from pose_lightning.heatmap.task import HeatmapEstimation
from pose_lightning.joints import COCO
from pose_lightning.regression.task import ClipRegression
from pose_lightning.runs import RunDirectory
from pose_lightning.store import Store, StoreWriter
from pose_lightning.task import Task
from tests.export.conftest import TASKS

HEATMAP = (
    *TASKS["heatmap"],
    "--model.loss=cross_entropy",
    "--model.grid=udp",
    "--model.sigma=1.5",
    "--model.decoding=dark",
    "--model.lr=1e-3",
)
CASES = {
    **TASKS,
    "heatmap": HEATMAP,
    "activity": (*TASKS["activity"], "--model.freeze.mode=last", "--model.freeze.n=1"),
}


@dataclass(frozen=True)
class Trained:
    """A run of two epochs, and the folder of its stores."""

    task: str
    run: RunDirectory
    root: Path

    def copy(self, folder: Path) -> "Trained":
        """The same elsewhere, for a test that changes it; the stores are where the configuration says."""
        shutil.copytree(self.run.path, folder / "run")
        shutil.copytree(self.root, folder / "stores")
        run = RunDirectory(folder / "run")
        run.write_config(run.config.read_text().replace(str(self.root), str(folder / "stores")))
        return Trained(self.task, run, folder / "stores")


def train(task: str, stores: Path, folder: Path) -> Trained:
    _, *settings = CASES[task]
    root = folder / "stores"
    shutil.copytree(stores, root)
    with Store(root / "train.h5") as store:
        classes = [f"--model.num_classes={len(store.attrs['categories'])}"] if "categories" in store.attrs else []
    common = [f"--data.root={root}", "--data.batch_size=16", "--data.num_threads=0", "--trainer.accelerator=cpu"]
    ends = [
        "--trainer.max_epochs=2",
        "--trainer.log_every_n_steps=1",
        "--pictures.every=0",
        "--wandb.mode=disabled",
        "--seed_everything=3",
    ]
    named = [f"--run_dir={folder / 'run'}", "--experiment=tiny"]
    fit.main([*settings, *classes, *common, *ends, *named, "--trainer.enable_progress_bar=false"])
    return Trained(task, RunDirectory(folder / "run"), root)


@pytest.fixture(scope="module", params=CASES)
def every(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    folder = tmp_path_factory.mktemp(request.param)
    return train(request.param, request.getfixturevalue(TASKS[request.param][0]), folder)


@pytest.fixture(scope="module")
def heatmap(demo_stores: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return train("heatmap", demo_stores, tmp_path_factory.mktemp("heatmap_alone"))


def rewrite(
    path: Path,
    order: Callable[[list[int]], list[int]] = list,
    *,
    change: Callable[[dict[str, Any]], None] = lambda row: None,
    attrs: Callable[[dict[str, Any]], dict[str, Any]] = dict,
) -> None:
    """Write a store again, with other samples, with changed labels of the first one, or with changed attributes."""
    with (
        Store(path) as store,
        StoreWriter(path, codec=store.codec, attrs=attrs(store.attrs), shape=store.shape) as writer,
    ):
        for place, index in enumerate(order(list(range(len(store))))):
            cells = {name: values[index] for name, values in store.labels.items()}
            row = {name: str(cell) if isinstance(cell, np.str_) else np.array(cell) for name, cell in cells.items()}
            if place == 0:
                change(row)
            writer.append(store.payload(index) if store.codec == "jpeg" else store.pixels(index), row)


def relabel(row: dict[str, Any]) -> None:
    row["joints"] = np.array(row["joints"]) + 1.0


CHANGES: dict[str, Callable[[Path], None]] = {
    "shorter": lambda path: rewrite(path, lambda order: order[:-1]),
    "another order": lambda path: rewrite(path, lambda order: [order[1], order[0], *order[2:]]),
    "one label": lambda path: rewrite(path, change=relabel),
    "another crop": lambda path: rewrite(path, attrs=lambda attrs: attrs | {"box_in_crop": attrs["box_in_crop"] - 8}),
}


def refused(door: Callable[[list[str]], Any], arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        door(arguments)
    assert stop.value.code == 2
    return " ".join(capsys.readouterr().err.split())


def test_loading_without_arguments_gives_the_same_network_and_losses(every: Trained) -> None:
    built, checkpoint, _ = trained.load(every.run)
    task: Any = type(built.model).load_from_checkpoint(checkpoint)
    state = built.model.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in task.state_dict().items())
    assert dict(task.hparams) == dict(built.model.hparams)
    trainer = pl.Trainer(accelerator="cpu", logger=False, enable_progress_bar=False)
    losses, wanted = (
        trainer.validate(model, datamodule=built.datamodule, verbose=False) for model in (task, built.model)
    )
    assert losses == wanted
    for model in (task, built.model):
        model.eval()
    side = built.datamodule.input_size
    image = torch.rand(1, *([8] if every.task == "regression" else []), 3, side, side)
    with torch.no_grad():
        assert_close(task(image), built.model(image), rtol=0, atol=0)


def test_a_checkpoint_is_read_without_running_code_and_settings_are_plain(every: Trained) -> None:
    checkpoint = torch.load(every.run.best, weights_only=True)
    settings = checkpoint["hyper_parameters"]
    assert json.loads(json.dumps(settings)) == settings
    assert not {"weights", "pretrained", "_class_path", "_instantiator"} & settings.keys()


def test_settings_that_are_not_named_are_the_runs(heatmap: Trained) -> None:
    sizes = {"stacks": 2, "features": 8, "depth": 1}
    task = HeatmapEstimation.load_from_checkpoint(heatmap.run.best, **sizes)
    assert (task.loss, task.grid, task.sigma, task.decoding) == ("cross_entropy", "udp", 1.5, "dark")
    assert HeatmapEstimation.load_from_checkpoint(heatmap.run.best, decoding="quarter").decoding == "quarter"


def test_a_data_module_is_loaded_with_the_settings_and_facts_of_its_run(every: Trained) -> None:
    built, checkpoint, _ = trained.load(every.run)
    data: Any = type(built.datamodule).load_from_checkpoint(checkpoint, root=Path("nowhere"))
    assert data.facts == built.datamodule.facts
    assert data.input_size == built.datamodule.input_size
    if isinstance(data, ActivityData):
        assert (data.target, data.classes) == (built.datamodule.target, built.datamodule.classes)


def test_checkpoints_of_another_task_or_without_settings_are_refused(heatmap: Trained, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is of HeatmapEstimation; load it with that class, not ClipRegression"):
        ClipRegression.load_from_checkpoint(heatmap.run.best)
    copy = heatmap.copy(tmp_path)
    checkpoint = torch.load(copy.run.best, weights_only=True)
    del checkpoint["hyper_parameters"]
    for path in (copy.run.best, copy.run.last):
        torch.save(checkpoint, path)
    for attempt in (
        lambda: HeatmapEstimation.load_from_checkpoint(copy.run.best, stacks=2),
        lambda: trained.load(copy.run),
        lambda: fit.fit(["--resume", str(copy.run.path), "--trainer.max_epochs=3"]),
    ):
        with pytest.raises(UserError, match=r"does not hold the settings of its task.*train the run again"):
            attempt()


def test_a_foreign_checkpoint_is_refused_in_one_sentence(
    heatmap: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = heatmap.copy(tmp_path)
    for content in (Path("a"), {"state_dict": 3}, [1]):
        torch.save(content, copy.run.best)
        message = refused(evaluate.main, [str(copy.run.path)], capsys)
        assert f"{copy.run.best} is no checkpoint" in message
        assert "weights_only" not in message


def test_a_configuration_that_says_otherwise_than_the_checkpoint_is_refused(
    heatmap: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = heatmap.copy(tmp_path)
    copy.run.write_config(copy.run.config.read_text().replace("loss: cross_entropy", "loss: mse"))
    for door, arguments in ((evaluate.main, []), (fit.main, ["--trainer.max_epochs=3"])):
        words = [*(["--resume"] if door is fit.main else []), str(copy.run.path), *arguments]
        assert "was trained with model.loss=cross_entropy (here mse)" in refused(door, words, capsys)


class Custom(Task):
    """Of a person who hands over a function."""

    def __init__(self, activation: Callable[[float], float], width: int = 3) -> None:
        super().__init__(optimizer="sgd", lr=0.1)
        self.width = width
        self.line = torch.nn.Linear(width, 1)

    def training_loss(self, batch: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
        return self.line(batch["x"]).sum(), torch.tensor(1)


def test_a_setting_that_is_no_plain_data_is_not_kept_and_has_to_be_given_again(tmp_path: Path) -> None:
    task = Custom(abs, width=5)
    path = tmp_path / "custom.ckpt"
    about = {"hyper_parameters": dict(task.hparams), "task": task.record, "schedule_total": None}
    lightning = {"pytorch-lightning_version": pl.__version__, "global_step": 0}
    torch.save({"state_dict": task.state_dict(), **lightning, **about}, path)
    assert "activation" not in task.hparams
    with pytest.raises(UserError, match="could not keep activation"):
        Custom.load_from_checkpoint(path)
    assert Custom.load_from_checkpoint(path, activation=abs).width == 5


@pytest.mark.parametrize("split", ["train", "val"])
@pytest.mark.parametrize("change", CHANGES)
def test_a_run_is_not_resumed_or_scored_on_other_samples(
    change: str, split: str, heatmap: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = heatmap.copy(tmp_path)
    path = copy.root / f"{split}.h5"
    before, config = len(Store(path)), copy.run.config.read_text()
    CHANGES[change](path)
    for door, arguments in (
        (fit.main, ["--resume", str(copy.run.path), "--trainer.max_epochs=3"]),
        (evaluate.main, [str(copy.run.path)]),
    ):
        message = refused(door, arguments, capsys)
        assert f"{path} ({len(Store(path))} samples, fingerprint " in message
        assert f"is not the {split} store of the run, which was {heatmap.root / path.name} ({before} samples" in message
        assert "--accept-changed-stores" in message
    assert copy.run.config.read_text() == config


def test_stores_that_have_moved_are_the_same_data(
    heatmap: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = heatmap.copy(tmp_path)
    moved = copy.root.rename(tmp_path / "elsewhere")
    assert f"no store at {copy.root / 'val.h5'}" in refused(evaluate.main, [str(copy.run.path)], capsys)
    evaluate.main([str(copy.run.path), f"--data.root={moved}"])
    scores = json.loads((copy.run.path / "metrics.json").read_text())
    assert scores["changed_stores"] == {}
    assert scores["measures"] == json.loads((heatmap.run.path / "metrics.json").read_text())["measures"]
    fit.main(["--resume", str(copy.run.path), f"--data.root={moved}", "--trainer.max_epochs=3"])
    assert yaml.safe_load(copy.run.config.read_text())["data"]["init_args"]["root"] == str(moved)


def test_an_accepted_change_is_said_in_the_table_and_the_scores(
    heatmap: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = heatmap.copy(tmp_path)
    CHANGES["shorter"](copy.root / "val.h5")
    evaluate.main([str(copy.run.path), "--accept-changed-stores"])
    assert "ANOTHER VAL STORE than the run's" in " ".join(capsys.readouterr().out.split())
    scores = json.loads((copy.run.path / "metrics.json").read_text())
    before, now = scores["changed_stores"]["val"]
    assert before["samples"] == now["samples"] + 1
    assert not scores["chosen_on_this_split"]


def test_a_resume_on_accepted_stores_chooses_the_best_anew(heatmap: Trained, tmp_path: Path) -> None:
    copy = heatmap.copy(tmp_path)
    CHANGES["shorter"](copy.root / "val.h5")
    last = torch.load(copy.run.last, weights_only=True)
    last["callbacks"]["RunCheckpoints"]["best_score"] = 1e9  # that no score on other samples will reach
    torch.save(last, copy.run.last)
    fit.main(["--resume", str(copy.run.path), "--trainer.max_epochs=3", "--accept-changed-stores"])
    best = torch.load(copy.run.best, weights_only=True)
    with Store(copy.root / "val.h5") as store:
        assert best["PoseData"]["stores"]["val"]["checksum"] == store.fingerprint
    assert json.loads((copy.run.path / "metrics.json").read_text())["changed_stores"] == {}


def test_a_resume_on_another_training_store_is_scored_and_says_so(heatmap: Trained, tmp_path: Path) -> None:
    copy = heatmap.copy(tmp_path)
    CHANGES["one label"](copy.root / "train.h5")
    last = torch.load(copy.run.last, weights_only=True)
    last["callbacks"]["RunCheckpoints"]["best_score"] = 1e9  # so that the best one is of before the change
    torch.save(last, copy.run.last)
    fit.main(["--resume", str(copy.run.path), "--trainer.max_epochs=3", "--accept-changed-stores"])
    assert json.loads((copy.run.path / "metrics.json").read_text())["changed_stores"].keys() == {"train"}


@pytest.mark.parametrize(
    ("key", "value"),
    [("stores", 3), ("stores", {"train": {"path": 1}}), ("stores", {"train": {}}), ("facts", None)],
)
def test_a_checkpoint_that_says_nonsense_of_its_data_is_refused(
    heatmap: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str], key: str, value: Any
) -> None:
    copy = heatmap.copy(tmp_path)
    for path in (copy.run.best, copy.run.last):
        state = torch.load(path, weights_only=True)
        state["PoseData"][key] = value
        torch.save(state, path)
    for door, words in ((evaluate.main, [str(copy.run.path)]), (fit.main, ["--resume", str(copy.run.path)])):
        assert "the checkpoint is damaged: of its data, " in refused(door, words, capsys)


WRONG_FACTS: dict[str, Any] = {
    "synthetic": "yes",
    "joint_set": {"name": "mpii"},
    "taught": [1] * 16,
    "crop": 10**9,
    "box_in_crop": -1,
    "frames": 2**40,
    "side": 0,
    "frame_rate": float("nan"),
    "margin": [0.1],
    "classes": [1, 2],
    "shorter_side": 1.5,
}


def test_facts_of_another_shape_are_refused_by_name(
    every: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from pose_lightning.export.door import main as export  # noqa: PLC0415

    copy = every.copy(tmp_path)
    state = torch.load(copy.run.best, weights_only=True)
    (data,) = (name for name in state if name.endswith("Data"))
    kept = dict(state[data]["facts"])
    assert kept.keys() <= WRONG_FACTS.keys()
    for name in kept:
        for facts in (kept | {name: WRONG_FACTS[name]}, {key: value for key, value in kept.items() if key != name}):
            state[data]["facts"] = facts
            torch.save(state, copy.run.best)
            message = refused(export, [str(copy.run.path), "--format", "safetensors"], capsys)
            assert "the checkpoint is damaged: of its data, /facts" in message
            assert name in message


def test_as_many_joints_as_the_network_has(
    heatmap: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = heatmap.copy(tmp_path)
    state = torch.load(copy.run.best, weights_only=True)
    facts = state["PoseData"]["facts"]
    for changed, reason in (
        ({"taught": [True] * 15}, "best.ckpt is damaged: it tells of 15 joints"),
        ({"joint_set": COCO.plain()}, "the network is of mpii: it lacks pelvis"),
    ):
        state["PoseData"]["facts"] = facts | changed
        torch.save(state, copy.run.best)
        assert reason in refused(evaluate.main, [str(copy.run.path)], capsys)


def test_as_many_classes_as_the_network_has(
    demo_activity_stores: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from pose_lightning.predict.door import main as predict  # noqa: PLC0415

    made = train("activity", demo_activity_stores, tmp_path)
    state = torch.load(made.run.best, weights_only=True)
    state["ActivityData"]["facts"]["classes"].pop()
    torch.save(state, made.run.best)
    words = [str(made.run.path), str(pictures(tmp_path / "pictures")), f"--out={tmp_path / 'out'}"]
    assert "best.ckpt is damaged: it names" in refused(predict, words, capsys)


SETTINGS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "a tensor": lambda state: state["hyper_parameters"].update(lr=torch.zeros(3)),
    "a name that is none": lambda state: state["hyper_parameters"].update({3: 1}),
    "settings that hold themselves": lambda state: state["hyper_parameters"].update(lr=loop),
    "no name of the task": lambda state: state["task"].pop("name"),
    "no list": lambda state: state["task"].update(settings_left_out=3),
}
loop: list[Any] = []
loop.append(loop)


@pytest.mark.parametrize("name", SETTINGS)
def test_settings_that_are_no_plain_data_are_refused(
    heatmap: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    copy = heatmap.copy(tmp_path)
    state = torch.load(copy.run.best, weights_only=True)
    SETTINGS[name](state)
    torch.save(state, copy.run.best)
    assert "does not hold the settings of its task" in refused(evaluate.main, [str(copy.run.path)], capsys)


RESUMED: dict[str, Callable[[dict[str, Any]], Any]] = {
    "no end of the schedule": lambda state: state.pop("schedule_total"),
    "no loops": lambda state: state.update(loops=[]),
    "a loop without its counts": lambda state: state["loops"]["fit_loop"].update({"epoch_loop.batch_progress": {}}),
    "a count that is none": lambda state: state["loops"]["fit_loop"]["epoch_progress"]["total"].update(ready="1"),
    "no version": lambda state: state.update({"pytorch-lightning_version": "latest"}),
    "callbacks that are none": lambda state: state.update(callbacks=3),
    "random numbers that are none": lambda state: state["callbacks"]["RandomStates"]["ranks"][0].update(torch=3),
    "no random numbers": lambda state: state["callbacks"]["RandomStates"].update(ranks=[]),
    "a score that is none": lambda state: state["callbacks"]["RunCheckpoints"].update(best_score="high"),
    "an optimizer of another kind": lambda state: state["optimizer_states"][0]["param_groups"].clear(),
    "a schedule's step that is none": lambda state: state["lr_schedulers"][0].update(last_epoch=[loop]),
    "weights of another network": lambda state: state["state_dict"].popitem(),
}


@pytest.mark.parametrize("name", RESUMED)
def test_a_checkpoint_that_training_cannot_go_on_from_is_refused_in_one_line(
    heatmap: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    copy = heatmap.copy(tmp_path)
    state = torch.load(copy.run.last, weights_only=True)
    RESUMED[name](state)
    torch.save(state, copy.run.last)
    message = refused(fit.main, ["--resume", str(copy.run.path), "--trainer.max_epochs=3"], capsys)
    assert "is damaged" in message


def test_an_error_of_training_is_no_damaged_checkpoint(
    heatmap: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise TypeError("a bug")

    copy = heatmap.copy(tmp_path)
    monkeypatch.setattr(HeatmapEstimation, "training_step", fail)
    with pytest.raises(TypeError, match="a bug"):
        fit.main(["--resume", str(copy.run.path), "--trainer.max_epochs=3"])


def test_a_store_that_changes_while_a_run_trains_is_not_what_its_end_scores(
    demo_stores: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Replace(pl.Callback):
        def on_train_end(self, *_: Any) -> None:
            CHANGES["one label"](tmp_path / "stores" / "val.h5")

    build: Any = cli.build

    def built(*args: Any, **kwargs: Any) -> cli.PoseCLI:
        made = build(*args, **kwargs)
        made.trainer.callbacks.append(Replace())  # type: ignore[attr-defined]
        return made

    monkeypatch.setattr(cli, "build", built)
    with pytest.raises(SystemExit) as stop:
        train("heatmap", demo_stores, tmp_path)
    assert stop.value.code == 2
    assert "val.h5" in (message := capsys.readouterr().err)
    assert "is not the val store of the run" in message
    assert not (tmp_path / "run" / "metrics.json").exists()


def test_other_classes_are_refused_even_where_changes_are_accepted(
    demo_activity_stores: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = train("activity", demo_activity_stores, tmp_path)
    for split in ("train", "val"):
        rewrite(made.root / f"{split}.h5", attrs=lambda attrs: attrs | {"categories": attrs["categories"][::-1]})
    for door, words in ((evaluate.main, [str(made.run.path)]), (fit.main, ["--resume", str(made.run.path)])):
        message = refused(door, [*words, "--accept-changed-stores"], capsys)
        assert "has other classes than the run was trained on, or another order" in message


def pictures(folder: Path) -> Path:
    folder.mkdir(parents=True)
    for number in range(16):
        small = np.random.default_rng(number).integers(256, size=(14, 17, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / f"{number:02}.png"), cv2.resize(small, (170, 140), interpolation=cv2.INTER_CUBIC))
    return folder


def test_every_door_of_a_trained_network_works_elsewhere_and_without_its_stores(
    every: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from pose_lightning.export.door import main as export  # noqa: PLC0415
    from pose_lightning.predict.door import main as predict  # noqa: PLC0415
    from pose_lightning.report.__main__ import main as report  # noqa: PLC0415

    seen = pictures(tmp_path / "pictures")
    predict([str(every.run.path), str(seen), f"--json={tmp_path / 'before.json'}", f"--out={tmp_path / 'before'}"])
    copy = every.copy(tmp_path / "given" / "runs" / "tiny")
    shutil.rmtree(copy.root)
    (elsewhere := tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(elsewhere)
    predict([str(copy.run.path), str(seen), f"--json={tmp_path / 'after.json'}", f"--out={tmp_path / 'after'}"])
    texts = [(tmp_path / f"{name}.json").read_text() for name in ("before", "after")]
    before, after = (json.loads(text.replace(str(tmp_path / "after"), str(tmp_path / "before"))) for text in texts)
    assert {**after, "checkpoint": None} == {**before, "checkpoint": None}
    assert after["synthetic"] is True
    export([str(copy.run.path), "--format", "safetensors"])
    report([str(copy.run.path)])
    report(["--experiment", "tiny", "--runs", "../given/runs", "--out", "report.html"])
    text = Path("report.html").read_text()
    assert "DEMO: drawn" in text
