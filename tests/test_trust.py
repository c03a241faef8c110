"""A received run: nothing that its configuration names is imported or written unless the command line trusts it."""

import inspect
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
import yaml
from PIL import Image

from pose_lightning import cli, evaluate, fit, trust
from pose_lightning.errors import UserError
from pose_lightning.export import door as export_door
from pose_lightning.predict import door as predict_door
from pose_lightning.reading.configs import parse_yaml
from pose_lightning.report import __main__ as report_door
from pose_lightning.runs import RunDirectory
from pose_lightning.trust import NOBODY, Trust
from tests.untrained import save

PAYLOAD = """
from pathlib import Path
Path(__file__).with_name("imported").touch()
import pytorch_lightning as pl
from pose_lightning.heatmap.data import PoseData
from pose_lightning.heatmap.task import HeatmapEstimation
class Cb(pl.Callback): ...
class Task(HeatmapEstimation): ...
class Data(PoseData): ...
class Alien(pl.LightningModule): ...
"""
NETWORK = [f"--model.network.{key}={value}" for key, value in (("stacks", 1), ("features", 8), ("depth", 1))]
DATA = ["--data.batch_size=4", "--data.input_size=64"]
CPU = ["--trainer.accelerator=cpu"]

Settings = dict[str, Any]


def in_trainer(key: str, value: Any) -> Callable[[Settings], None]:
    return lambda settings: settings["trainer"].__setitem__(key, value)


def in_section(section: str, key: str, value: Any) -> Callable[[Settings], None]:
    return lambda settings: settings[section].__setitem__(key, value)


def at_top(key: str, value: Any) -> Callable[[Settings], None]:
    return lambda settings: settings.__setitem__(key, value)


def below(section: str, key: str, value: Any) -> Callable[[Settings], None]:
    return lambda settings: settings[section]["init_args"].__setitem__(key, value)


def called(path: str, **arguments: Any) -> dict[str, Any]:
    return {"class_path": path, "init_args": arguments}


TRUSTABLE: dict[str, Callable[[Settings], None]] = {
    "a callback": in_trainer("callbacks", [called("payload.Cb")]),
    "a callback by name": in_trainer("callbacks", "payload.Cb"),
    "a callback in a list of names": in_trainer("callbacks", ["EarlyStopping", "payload.Cb"]),
    "a single callback": in_trainer("callbacks", called("payload.Cb")),
    "a logger": in_trainer("logger", "payload.Cb"),
    "loggers": in_trainer("logger", [called("payload.Cb")]),
    "a CSVLogger": in_trainer("logger", called("pytorch_lightning.loggers.CSVLogger", save_dir="/nowhere")),
    "a profiler": in_trainer("profiler", called("payload.Cb")),
    "a profiler that writes": in_trainer(
        "profiler", called("pytorch_lightning.profilers.SimpleProfiler", dirpath="/nowhere", filename="x")
    ),
    "a profiler that climbs": in_trainer("profiler", called("SimpleProfiler", dirpath="../../x")),
    "a plugin": in_trainer("plugins", [called("payload.Cb")]),
    "plugins by name": in_trainer("plugins", "payload.Cb"),
    "a strategy": in_trainer("strategy", "payload.Cb"),
    "a strategy's class": in_trainer("strategy", called("payload.Cb")),
    "an accelerator": in_trainer("accelerator", called("payload.Cb")),
    "an accelerator by name": in_trainer("accelerator", "payload.Cb"),
    "a callable": in_trainer("callbacks", [called("LambdaCallback", on_predict_start="shutil.rmtree")]),
    "a callable of a listed class": in_trainer("callbacks", [called("StochasticWeightAveraging", avg_fn="os.system")]),
    "a listed class with other arguments": in_trainer(
        "callbacks", [{"class_path": "EarlyStopping", "dict_kwargs": {"callback": "payload.Cb"}}]
    ),
    "a class below a listed one": in_trainer("callbacks", [called("EarlyStopping", monitor=called("payload.Cb"))]),
    "a checkpoint elsewhere": in_trainer("callbacks", [called("ModelCheckpoint", dirpath="/nowhere")]),
    "a checkpoint's name": in_trainer("callbacks", [called("ModelCheckpoint", filename="../../x")]),
    "a theme as text": in_trainer("callbacks", [called("RichProgressBar", theme="{class_path: payload.Cb}")]),
    "a theme's class": in_trainer("callbacks", [called("RichProgressBar", theme=called("payload.Cb"))]),
    "a callback as text": in_trainer("callbacks", [called("EarlyStopping", mode="{class_path: payload.Cb}")]),
    "a stdlib class": in_trainer("callbacks", [called("subprocess.Popen", args=["touch", "x"])]),
    "a model": in_section("model", "class_path", "payload.Task"),
    "data": in_section("data", "class_path", "payload.Data"),
    "another kind": in_section("model", "class_path", "pose_lightning.training.pictures.Pictures"),
    "a class of the wrong place": in_section("model", "class_path", "PoseData"),
    "a letter that looks alike": in_section(
        "model", "class_path", "pose_lightning.heatmap.task.\u041deatmapEstimation"
    ),
    "a space behind": in_section("model", "class_path", "pose_lightning.heatmap.task.HeatmapEstimation "),
}
"""Refused with the command that trusts them."""

REFUSED: dict[str, Callable[[Settings], None]] = {
    "a mapping as text": in_trainer("max_time", "{class_path: payload.Cb}"),
    "another file": at_top("config", "other.yaml"),
    "a section's file": at_top("trainer", "other.yaml"),
    "a model's file": at_top("model", "other.yaml"),
    "arguments' file": in_section("model", "init_args", "other.yaml"),
    "an argument's file": below("model", "freeze", "@other"),
    "a path key": at_top("__path__", "x"),
    "a default file": at_top("__default_config__", "x"),
    "a key that appends": in_trainer("callbacks+", "payload.Cb"),
    "a dotted key": at_top("trainer.callbacks", "payload.Cb"),
    "a dotted key of a class": in_section("model", "init_args.weights", "x"),
    "a number as key": at_top(3, 4),
    "a class in a model's arguments": below("model", "milestones", called("payload.Cb")),
    "a class in data's arguments": below("data", "root", called("payload.Cb")),
    "a class in a list of a model's": below("model", "milestones", [[[called("payload.Cb")]]]),
    "a class in wandb": in_section("wandb", "project", called("payload.Cb")),
    "a section as a class": at_top("wandb", called("payload.Cb")),
    "a registry": in_trainer("model_registry", "x"),
    "a root elsewhere": in_trainer("default_root_dir", "/nowhere"),
    "a class as number": in_trainer("max_epochs", called("payload.Cb")),
    "a wild key": in_trainer("barbones", True),
    "a class without path": in_trainer("callbacks", [{"init_args": {}}]),
    "an implicit class": in_trainer("callbacks", [{"monitor": "val/loss"}]),
    "a number as class": in_trainer("callbacks", [{"class_path": 3}]),
    "a list as class": in_trainer("callbacks", [[called("payload.Cb")]]),
    "an experiment elsewhere": at_top("experiment", "../../x"),
    "a class as text": below("model", "loss", "{class_path: payload.Cb}"),
    "a class as text of a list": below("model", "milestones", ["{class_path: payload.Cb}"]),
    "a class as text elsewhere": at_top("tags", ["{class_path: payload.Cb}"]),
    "aliases as text": below("model", "milestones", "[&a [1], *a]"),
    "aliases as a name": in_section("wandb", "project", "[&a [1], *a]"),
    "a device to read": below("model", "milestones", "/dev/stdin"),
    "a word for a mapping": below("model", "freeze", "other"),
    "a flag for callbacks": in_trainer("callbacks", True),
    "a zero byte": at_top("experiment", "a\0"),
    "a root of a zero byte": in_trainer("default_root_dir", "a\0"),
    "arguments of another kind": in_section("model", "dict_kwargs", {"weights": "/x"}),
    "no model": lambda settings: settings.pop("model"),
}
"""Refused whatever the command line trusts."""


@pytest.fixture(scope="module")
def made(demo_stores: Path, tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """A sound run with a checkpoint."""
    run = RunDirectory(tmp_path_factory.mktemp("sound") / "exp" / "run")
    data = ["--data=PoseData", f"--data.root={demo_stores}", *DATA]
    built = cli.build(["--model=HeatmapEstimation", *NETWORK, *data, *CPU, "--experiment=tiny"])
    run.write_config(built.dump())
    run.checkpoints.mkdir()
    save(built, run.best, 3)
    (run.path / "metrics.csv").write_text("step,samples,epoch,val/pckh\n3,12,0,1.0\n")
    return run


@pytest.fixture
def received(made: RunDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunDirectory:
    """The run in a folder from which `payload` can be imported."""
    (tmp_path / "payload.py").write_text(PAYLOAD)
    (tmp_path / "other.yaml").write_text("model: {class_path: payload.Task}\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_MODE", "disabled")
    monkeypatch.delitem(sys.modules, "payload", raising=False)
    run = RunDirectory(tmp_path / "runs" / "exp" / "run")
    run.checkpoints.mkdir(parents=True)
    for name in ("config.yaml", "checkpoints/best.ckpt", "metrics.csv"):
        (run.path / name).write_bytes((made.path / name).read_bytes())
    return run


def rewrite(run: RunDirectory, change: Callable[[Settings], Any]) -> None:
    settings = yaml.safe_load(run.config.read_text())
    change(settings)
    if settings.get("model", {}) and settings["model"] != "other.yaml":
        arguments = settings["model"].get("init_args")
        if isinstance(arguments, dict) and arguments.get("freeze") == "@other":
            arguments["freeze"] = str(run.path.parents[2] / "other.yaml")
    run.config.write_text(yaml.safe_dump(settings, allow_unicode=True))


def files(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if "__pycache__" not in path.parts}


@pytest.mark.parametrize("name", TRUSTABLE)
def test_a_name_that_is_not_known_needs_trust(received: RunDirectory, name: str, tmp_path: Path) -> None:
    rewrite(received, TRUSTABLE[name])
    with pytest.raises(UserError) as refusal:
        trust.read_config(received.config, Trust((), "python -m pose_lightning.evaluate RUN"))
    assert str(received.config) in str(refusal.value)
    assert "\n" not in str(refusal.value)
    if "behind" not in name:
        assert "python -m pose_lightning.evaluate RUN --trust " in str(refusal.value)
    assert not (tmp_path / "imported").exists()


@pytest.mark.parametrize("name", REFUSED)
def test_another_form_is_refused_whatever_is_trusted(received: RunDirectory, name: str, tmp_path: Path) -> None:
    rewrite(received, REFUSED[name])
    for trusted in (NOBODY, Trust(("payload", "pytorch_lightning"))):
        with pytest.raises(UserError, match=r"config\.yaml"):
            trust.read_config(received.config, trusted)
    assert not (tmp_path / "imported").exists()


def doors(run: RunDirectory, tmp_path: Path) -> dict[str, Callable[[list[str]], None]]:
    folder = str(run.path)
    return {
        "evaluate": lambda more: evaluate.main([folder, *more]),
        "folds": lambda more: evaluate.main([folder, folder, *more]),
        "clips": lambda more: evaluate.main([folder, "--clips", "a.npy", "--joints", "b.npy", *more]),
        "predict": lambda more: predict_door.main([folder, str(tmp_path / "photo.png"), *more]),
        "export": lambda more: export_door.main([folder, "--format", "safetensors", *more]),
        "report": lambda more: report_door.main([folder, *more]),
        "fit --resume": lambda more: fit.main([f"--resume={folder}", *more]),
    }


@pytest.mark.parametrize("door", ["evaluate", "folds", "clips", "predict", "export", "report", "fit --resume"])
@pytest.mark.parametrize("name", ["a callback", "a callable", "a profiler that writes", "a CSVLogger", "a model"])
def test_no_door_imports_or_writes(
    received: RunDirectory, door: str, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rewrite(received, TRUSTABLE[name])
    before = files(tmp_path)
    with pytest.raises(SystemExit) as stop:
        doors(received, tmp_path)[door]([])
    error = capsys.readouterr().err
    assert stop.value.code == 2
    assert error.count("\n") == 1
    assert "--trust" in error
    module = {"folds": "evaluate", "clips": "evaluate", "fit --resume": "fit"}.get(door, door)
    assert f"python -m pose_lightning.{module} " in error
    assert files(tmp_path) == before
    assert "payload" not in sys.modules


@pytest.mark.parametrize("door", ["evaluate", "export", "report"])
def test_doors_that_score_build_nothing_that_is_trusted_for_training(
    received: RunDirectory, door: str, tmp_path: Path
) -> None:
    rewrite(received, lambda settings: settings["trainer"].update(callbacks=[called("payload.Cb")], strategy="ddp"))
    doors(received, tmp_path)[door](["--trust", "payload"])
    assert not (tmp_path / "imported").exists()


@pytest.mark.parametrize("door", ["evaluate", "export", "report", "predict"])
def test_a_task_of_ones_own_is_scored_where_it_is_trusted(received: RunDirectory, door: str, tmp_path: Path) -> None:
    Image.new("RGB", (80, 60), "red").save(tmp_path / "photo.png")
    rewrite(received, TRUSTABLE["a model"])
    rewrite(received, TRUSTABLE["data"])
    state = torch.load(received.best, weights_only=True)
    torch.save({**state, "Data": state["PoseData"]}, received.best)  # as a run with the person's own data writes it
    doors(received, tmp_path)[door](["--trust=payload"])
    assert (tmp_path / "imported").exists()
    if door == "predict":
        assert list(received.path.rglob("*.json"))
    if door == "evaluate":
        assert json.loads((received.path / "metrics.json").read_text())["step"] == 3


def own(stores: Path, runs: Path, task: str) -> list[str]:
    limits = [
        "--trainer.max_steps=2",
        "--trainer.max_epochs=-1",
        "--trainer.log_every_n_steps=1",
        "--pictures.every=0",
    ]
    data = [f"--data.root={stores}", *DATA]
    return [f"--model={task}", *NETWORK, "--data=payload.Data", *data, *CPU, *limits, f"--runs={runs}"]


def test_a_task_of_ones_own_trains_and_is_scored_as_typed_and_resumes_by_one_word(
    received: RunDirectory, demo_stores: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    callbacks = ["--trainer.callbacks=payload.Cb"]
    run = RunDirectory(fit.fit([*own(demo_stores, tmp_path / "mine", "payload.Task"), *callbacks]))
    assert (run.path / "metrics.json").is_file()
    (run.path / "metrics.json").unlink()
    with pytest.raises(SystemExit):
        fit.main([f"--resume={run.path}", "--trainer.max_steps=3"])
    assert f"fit --resume={run.path} --trainer.max_steps=3 --trust payload" in capsys.readouterr().err
    fit.main([f"--resume={run.path}", "--trainer.max_steps=3", "--trust", "payload"])
    assert (run.path / "metrics.json").is_file()


def test_another_module_than_a_task_is_refused_before_it_has_a_directory(
    received: RunDirectory, demo_stores: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = own(demo_stores, tmp_path / "mine", "payload.Alien")
    with pytest.raises(SystemExit) as stop:
        fit.main([arg for arg in arguments if arg not in NETWORK])
    assert stop.value.code == 2
    assert "payload.Alien" in capsys.readouterr().err
    assert not (tmp_path / "mine").exists()


def test_what_a_run_of_listed_classes_writes_is_read_again(made: RunDirectory, demo_stores: Path) -> None:
    words = [
        *("EarlyStopping", "RichProgressBar", "EMAWeightAveraging", "LearningRateMonitor"),
        *("ModelSummary", "DeviceStatsMonitor"),
    ]
    callbacks = [
        flag
        for word in words
        for flag in (
            f"--trainer.callbacks+={word}",
            *(["--trainer.callbacks.monitor=val/loss"] if word == "EarlyStopping" else []),
        )
    ]
    data = ["--data=PoseData", f"--data.root={demo_stores}", *DATA]
    plugins = ["--trainer.plugins+=SLURMEnvironment"]
    built = cli.build(["--model=HeatmapEstimation", *NETWORK, *data, *CPU, *callbacks, *plugins])
    assert trust.find_strangers(yaml.safe_load(built.dump()), made.config) == []
    again = cli.build_run(yaml.safe_load(built.dump()), from_checkpoint=False)
    assert again.dump() == built.dump()
    scored = cli.build_for_scoring(yaml.safe_load(built.dump()))
    kinds = {type(callback).__name__ for callback in scored.trainer.callbacks}  # type: ignore[attr-defined]
    assert not kinds & set(words) - {"ModelSummary"}


def test_every_setting_of_the_trainer_is_checked() -> None:
    known = {*trust.TRAINER, *trust.CLASSES, *trust.UNSET}
    assert known == set(inspect.signature(pl.Trainer.__init__).parameters) - {"self"}


def test_listed_arguments_take_no_callable() -> None:
    for known in (trust.CALLBACKS, trust.STRATEGIES, trust.PLUGINS, trust.PROFILERS):
        for path, names in known.items():
            if path.startswith("pytorch_lightning."):
                kind = getattr(__import__(path.rpartition(".")[0], fromlist=["x"]), path.rpartition(".")[2])
                arguments = inspect.signature(kind.__init__).parameters
                assert not [
                    name for name in names or () if name in arguments and "Callable" in str(arguments[name].annotation)
                ], path


def test_a_prefix_is_trusted_by_whole_words() -> None:
    assert Trust(("mine",)).covers("mine.networks.Task")
    assert not Trust(("mine",)).covers("miner.Task")
    assert not Trust(("mine.a",)).covers("mine.b.Task")
    assert not Trust(("mine",)).covers("runs.mine.Task")


def test_trust_of_a_class_does_not_reach_what_its_arguments_name(received: RunDirectory) -> None:
    lambdas = called("pytorch_lightning.callbacks.LambdaCallback", on_predict_start="shutil.rmtree")
    rewrite(received, in_trainer("callbacks", [lambdas]))
    with pytest.raises(UserError, match="--trust shutil"):
        trust.read_config(received.config, Trust(("pytorch_lightning",)))
    trust.read_config(received.config, Trust(("pytorch_lightning", "shutil.rmtree")))


def laughs(levels: int) -> str:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, levels)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a: &a 1", "anchor"),
        ("a: *b", "anchor or alias"),
        ("a: !!python/name:os.system x", "tag"),
        ("a: !!python/object/apply:os.system ['true']", "tag"),
        ("a: !!binary aGk=", "tag"),
        ("a: !!str 1", "tag"),
        ("a: {<<: {b: 1}}", "merge key"),
        ("a: 1\na: 2", "stands twice"),
        ("a: " + "[" * 50 + "]" * 50, "deeper"),
        ("[" * 500_000, "nesting"),
        ("a: " + "9" * 100_000, "without quotes"),
        ("a: " + "1:" * 100_000 + "1", "without quotes"),
        ("a: " + "x" * 2_000_000, "more than"),
        ("[" + "1," * 200_000 + "1]", "exceeds"),
        ("a: 2026-02-30", "no YAML"),
        ("a: [", "no YAML"),
        ("a: 1\n---\nb: 2", "no YAML"),
        ("a: \x07", "no YAML"),
        ("? [a]\n: b\n? {c: d}\n: e", "no YAML"),
        (laughs(9), "anchor"),
    ],
)
def test_yaml_of_others_is_bounded(text: str, reason: str) -> None:
    start = time.monotonic()
    with pytest.raises(UserError, match=reason) as refusal:
        parse_yaml(text, "config.yaml", own=False)
    assert "\n" not in str(refusal.value)
    assert time.monotonic() - start < 5


def test_a_file_of_ones_own_may_have_some_anchors() -> None:
    assert parse_yaml("a: &a {b: 1}\nc: {<<: *a, d: *a}", "own.yaml", own=True)["c"] == {"b": 1, "d": {"b": 1}}
    assert parse_yaml(laughs(3), "own.yaml", own=True)["a0"] == ["x"] * 10
    for text in (laughs(9), "a: &a [*a]", "a: &a !!python/name:os.system x"):
        with pytest.raises(UserError, match=r"own\.yaml"):
            parse_yaml(text, "own.yaml", own=True)


def test_fit_refuses_a_configuration_of_nested_aliases_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "laughs.yaml"
    path.write_text(laughs(9))
    start = time.monotonic()
    with pytest.raises(SystemExit):
        fit.main([f"--config={path}"])
    assert "exceeds" in capsys.readouterr().err
    assert time.monotonic() - start < 10


@pytest.mark.parametrize(
    "names", [["--trust"], ["--trust", "--resume=x"], ["--trust="], ["--trust=a b"], ["--trust=../x"]]
)
def test_trust_needs_a_name(names: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("model: {}\ndata: {}\n")
    with pytest.raises(SystemExit) as stop:
        fit.main([f"--resume={tmp_path}", *names])
    assert stop.value.code == 2
    assert "--trust" in capsys.readouterr().err
