"""`python -m pose_lightning.sweep` with real, tiny trials."""

import json
import shutil
from pathlib import Path

import pytest
import yaml

from pose_lightning.sweep.__main__ import main

ROOT = Path(__file__).resolve().parents[2]

SWEEP = """\
program: pose_lightning/fit.py
command:
  - ${env}
  - ${interpreter}
  - -m
  - pose_lightning.fit
  - --config=experiments/hourglass_mpii.yaml
  - --model.network.stacks=1
  - --model.network.features=8
  - --model.network.depth=2
  - --data.input_size=64
  - --data.num_threads=1
  - --trainer.log_every_n_steps=1
  - ${args}
method: grid
metric: {name: val/pckh, goal: maximize}
parameters:
  config: {values: [experiments/optimizers/rmsprop_2.5e-4.yaml, experiments/optimizers/adam_1e-3.yaml]}
  data.root: {value: ROOT}
  data.batch_size: {value: 4}
  budget.max_samples: {value: 16}
  budget.validations: {value: 2}
  seed_everything: {values: [1]}
"""


@pytest.fixture
def project(tmp_path: Path, demo_stores: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the experiments, a sweep and its data."""
    shutil.copytree(ROOT / "experiments", tmp_path / "experiments")
    (tmp_path / "tiny.yaml").write_text(SWEEP.replace("ROOT", str(demo_stores)))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return tmp_path


def test_a_sweep_runs_and_ends_with_its_comparison(project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    main(["tiny.yaml", "--slots", "2"])
    sweep = project / "runs" / "sweeps" / "tiny"
    for cell in ("rmsprop_2.5e-4", "adam_1e-3"):
        run = sweep / "trials" / cell / "1"
        told = json.loads((run / "trial.json").read_text())
        assert (told["state"], told["cell"], told["seed"], told["sweep"]) == ("complete", cell, 1, "tiny")
        config = yaml.safe_load((run / "config.yaml").read_text())
        assert config["model"]["init_args"]["optimizer"] == cell.split("_")[0]
        assert (config["wandb"]["sweep"], config["wandb"]["cell"]) == ("tiny", cell)
        assert (config["checkpoint"]["evaluate"], config["seed_everything"]) == ("last", 1)
        assert list(run.glob("wandb/offline-run-*"))
        assert (run / "metrics.json").is_file()
    said = capfd.readouterr().out
    assert "adam_1e-3 seed 1: complete, val/pckh" in said
    assert (sweep / "results.csv").is_file()
    main(["tiny.yaml", "--slots", "2"])
    assert "starts on" not in capfd.readouterr().out


@pytest.mark.ddp
def test_a_trial_has_as_many_processes_as_it_is_given(project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    text = (project / "tiny.yaml").read_text()
    (project / "tiny.yaml").write_text(text.replace("experiments/optimizers/rmsprop_2.5e-4.yaml, ", ""))
    main(["tiny.yaml", "--devices-per-trial", "2"])
    run = project / "runs/sweeps/tiny/trials/adam_1e-3/1"
    assert json.loads((run / "trial.json").read_text())["state"] == "complete"
    assert yaml.safe_load((run / "config.yaml").read_text())["trainer"]["devices"] in (2, "2")
    assert "MEMBER: 2/2" in (run / "output.txt").read_text()
    assert (run / "metrics.csv").read_text().splitlines()[-1].startswith("4,16,")


def test_dry_run_prints_every_command_and_makes_nothing(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["tiny.yaml", "--dry-run", "--devices-per-trial", "2"])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    for line in lines:
        words = line.split()
        assert words[1:3] == ["-m", "pose_lightning.fit"]
        configs = [place for place, word in enumerate(words) if word.startswith("--config=")]
        assert configs == [3, 4], "YAMLs come before flags"
        assert words[-1] == "--trainer.devices=2"
    assert not (project / "runs").exists()


def test_dry_run_draws_no_demo_data(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(ROOT / "sweeps" / "hourglass_optim.yaml", project)
    monkeypatch.chdir(project)
    main(["hourglass_optim.yaml", "--dry-run", "--data", "demo"])
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line.startswith("#")][
        1
    ] == "# data/demo/mpii/pose is not drawn yet; it would be now"
    commands = [line for line in lines if not line.startswith("#")]
    assert len(commands) == 18
    assert all("--config=experiments/demo/hourglass_mpii.yaml" in line for line in commands)
    assert not (project / "data").exists()


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["none.yaml"], "no sweep file none.yaml; there are tiny"),
        (["tiny.yaml", "--count", "0"], "--count 0 is out of range"),
        (["tiny.yaml", "--slots", "0"], "--slots"),
        (["tiny.yaml", "--join", "--storage", "nonsense"], "--storage is no database's URL"),
    ],
)
def test_mistakes_are_said_in_one_message(
    project: Path, capsys: pytest.CaptureFixture[str], words: list[str], reason: str
) -> None:
    with pytest.raises(SystemExit) as stop:
        main(words)
    assert stop.value.code == 2
    assert reason in capsys.readouterr().err


def test_a_second_runner_is_asked_to_join(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from pose_lightning.sweep.locks import locked  # noqa: PLC0415

    (project / "runs/sweeps/tiny").mkdir(parents=True)
    with locked(project / "runs/sweeps/tiny/runner.lock"), pytest.raises(SystemExit) as stop:
        main(["tiny.yaml"])
    assert stop.value.code == 2
    assert "help it with --join" in capsys.readouterr().err
    with pytest.raises(SystemExit) as stop:
        main(["tiny.yaml", "--no-resume"])
    assert "holds a sweep" in capsys.readouterr().err
