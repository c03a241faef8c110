"""Which runs a report is about."""

import json
import os
import shutil
from pathlib import Path

import pytest

from pose_lightning.errors import UserError
from pose_lightning.report.__main__ import main
from pose_lightning.report.classes import _read_confusion
from pose_lightning.report.gather import gather, newest
from pose_lightning.report.overview import sweep_command


def test_runs_that_differ_in_their_seed_share_a_label(runs: Path) -> None:
    subject = gather([runs / "hourglass_mpii_demo"])
    seeds = {label: [run.trial.seed for run in subject.runs if run.label == label] for label in subject.labels}
    assert sorted(seeds.values()) == [[1], [1, 2]]
    assert [label for label in seeds if "lr=0.25" in label] == [label for label in seeds if seeds[label] == [1]]
    assert subject.synthetic


def test_the_best_run_is_the_one_with_the_best_metric(runs: Path) -> None:
    subject = gather([runs / "hourglass_mpii_demo"])
    assert subject.best.last == max(run.last for run in subject.runs)
    assert "lr=0.25" not in subject.best.label  # made with more noise


def test_cells_are_compared_under_the_labels_of_the_page(runs: Path) -> None:
    subject = gather([runs / "hourglass_mpii_demo"])
    assert subject.comparison is not None
    assert {cell["cell"] for cell in subject.comparison["cells"]} == set(subject.labels)


def test_runs_of_several_tasks_are_shown_and_not_compared(runs: Path) -> None:
    subject = gather([runs])
    assert {run.task for run in subject.runs} == {"HeatmapEstimation", "ClipRegression", "ActivityClassification"}
    assert subject.comparison is None
    assert "different tasks" in subject.remarks[0]


def test_a_run_given_twice_is_there_once(runs: Path) -> None:
    folder = runs / "regression_conv_lstm_demo"
    assert len(gather([folder / "a", folder]).runs) == 1


def test_the_newest_of_a_name_is_the_demo_with_its_seeds_too(runs: Path, tmp_path: Path) -> None:
    shutil.copytree(runs, tmp_path / "runs")
    for place, name in enumerate(("faster", "seed1", "seed2")):
        os.utime(tmp_path / "runs" / "hourglass_mpii_demo" / name / "config.yaml", (place, place))
    found = newest("hourglass_mpii", tmp_path / "runs")
    assert [path.name for path in found] == ["seed1", "seed2"]


def sweep_of(runs: Path, folder: Path) -> Path:
    """A sweep's directory made of runs."""
    for name, cell, seed in (("seed1", "slow", 1), ("seed2", "slow", 2), ("faster", "fast", 1)):
        trial = folder / "trials" / cell / str(seed)
        shutil.copytree(runs / "hourglass_mpii_demo" / name, trial)
        told = {"cell": cell, "seed": seed, "values": {"model.lr": cell}, "state": "complete", "seconds": 60.0}
        (trial / "trial.json").write_text(json.dumps({**told, "revision": "abc123", "peak_memory_bytes": 2**30}))
    about = {"name": folder.name, "metric": "val/pckh", "goal": "maximize", "kind": "as the source ran it"}
    (folder / "study.json").write_text(json.dumps(about))
    return folder


def test_a_sweep_is_compared_where_no_result_is_newer_than_its_trials(runs: Path, tmp_path: Path) -> None:
    folder = sweep_of(runs, tmp_path / "runs" / "sweeps" / "rates_demo")
    assert newest("rates", tmp_path / "runs") == [folder]
    subject = gather([folder])
    assert subject.labels == ["slow", "fast"]
    assert subject.comparison is not None
    assert subject.comparison["cells"][0]["seeds"] == [1, 2]


def test_a_sweep_names_the_command_that_goes_on_with_it(tmp_path: Path) -> None:
    folder = tmp_path / "rates_demo"
    folder.mkdir()
    assert sweep_command(folder) == "python -m pose_lightning.sweep sweeps/rates.yaml --data demo"
    (folder / "study.json").write_text(json.dumps({"sweep_file": "mine/rates.yaml", "demo": False}))
    assert sweep_command(folder) == "python -m pose_lightning.sweep mine/rates.yaml"


@pytest.mark.parametrize(
    ("name", "reason"), [("absent", "no directory"), (".", "holds no run")], ids=["absent", "empty"]
)
def test_a_path_without_runs_is_refused(name: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=reason):
        gather([tmp_path / name])


def test_an_experiment_without_runs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="EXP=nothing"):
        newest("nothing", tmp_path)


def test_a_configuration_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("trainer: {}\n")
    with pytest.raises(UserError, match=r"config\.yaml is no run's configuration"):
        gather([tmp_path])


def test_a_folder_in_which_nothing_was_trained_is_not_the_newest_run(runs: Path, tmp_path: Path) -> None:
    shutil.copytree(runs, tmp_path / "runs")
    folder = tmp_path / "runs" / "hourglass_mpii_demo"
    for number, path in enumerate(sorted(folder.glob("*/config.yaml"))):
        os.utime(path, (number, number))
    newest_path = newest("hourglass_mpii", tmp_path / "runs")
    (folder / "empty" / "checkpoints").mkdir(parents=True)
    (folder / "refused" / "checkpoints").mkdir(parents=True)
    shutil.copy(newest_path[0] / "config.yaml", folder / "refused")
    assert newest("hourglass_mpii", tmp_path / "runs") == newest_path


def test_the_name_of_an_experiment_stays_below_the_runs(runs: Path) -> None:
    for name in ("../..", str(runs)):
        with pytest.raises(UserError, match="is no name of a folder below"):
            newest(name, runs)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("metrics.json", "[]", "holds a list; wanted a JSON object"),
        ("metrics.json", '{"measures": {}, "definitions": []}', "it has no 'counts'"),
        ("metrics.json", '{"measures": {"a": 1}, "definitions": [], "counts": {}}', "/measures/a is 1"),
        ("metrics.json", "[" * 100_000, "nested too deep"),
        ("trial.json", "1", "holds a number; wanted a JSON object"),
        ("trial.json", '{"cell": "a", "seed": "1", "values": {}, "state": "complete"}', "/seed is '1'"),
        ("cost.json", '{"epochs": []}', "/epochs is a list"),
        ("metrics.csv", "step,samples,epoch\n1,2,x\n", "line 2: epoch is 'x', no number"),
    ],
)
def test_a_damaged_record_of_a_run_is_one_line(
    runs: Path, tmp_path: Path, name: str, content: str, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run = shutil.copytree(runs / "hourglass_mpii_demo" / "seed1", tmp_path / "a")
    (run / name).write_text(content)
    with pytest.raises(SystemExit) as caught:
        main([str(run), "--without-network", "--out", str(tmp_path / "report.html")])
    assert caught.value.code == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert name in error
    assert reason in error


def test_a_damaged_comparison_of_a_sweep_is_refused(tmp_path: Path, runs: Path) -> None:
    trial = tmp_path / "sweep" / "trials" / "a" / "1"
    trial.parent.mkdir(parents=True)
    shutil.copytree(runs / "hourglass_mpii_demo" / "seed1", trial)
    for content, reason in (("{}", "it has no 'layout'"), ('{"layout": 2, "cells": []}', "it has no 'metric'")):
        (tmp_path / "sweep" / "results.json").write_text(content)
        with pytest.raises(UserError, match=rf"results\.json is damaged, or of another version: {reason}"):
            gather([tmp_path / "sweep"])


@pytest.mark.parametrize("content", ["", "true,a\na,1,2\n", "true,a,b\na,1,x\nb,1,1\n", "true,a\na,-1\n"])
def test_a_damaged_confusion_matrix_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "confusion.csv").write_text(content)
    with pytest.raises(UserError, match=r"confusion\.csv is damaged"):
        _read_confusion(tmp_path / "confusion.csv")
