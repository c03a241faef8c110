"""The runs of a report, from run directories and sweeps."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from pose_lightning import trust
from pose_lightning.errors import UserError
from pose_lightning.reading.configs import read_yaml
from pose_lightning.reading.raw import is_file
from pose_lightning.report.labels import labelled
from pose_lightning.report.subject import Run, Subject, lower_is_better
from pose_lightning.runs import below
from pose_lightning.sweep import compare, findings, offline
from pose_lightning.sweep.comparison import compare as compare_trials
from pose_lightning.sweep.records import read_results, read_trial
from pose_lightning.sweep.results import OWN, Trial

MOST_CELLS: Final = 12
"""Of runs that no sweep has made, so many cells are compared pair by pair."""


def gather(paths: Sequence[Path]) -> Subject:
    """The runs at or below `paths`, or the trials of a sweep.

    Raises:
        UserError: If a path holds no run.
    """
    for path in paths:
        if not path.is_dir():
            raise UserError(f"no directory {path}; `ls runs/*` lists the runs there are")
    if len(paths) == 1 and is_sweep(paths[0]):
        return _sweep(paths[0])
    folders = list(dict.fromkeys(folder.resolve() for path in paths for folder in _below(path)))
    runs = labelled([_run(folder) for folder in folders])
    title = runs[0].name if len(runs) == 1 else ", ".join(dict.fromkeys(run.experiment for run in runs))
    if len(title) > 80:
        title = f"{len(runs)} runs of {len({run.experiment for run in runs})} experiments"
    comparison, remarks = _compared(paths, runs)
    return Subject(title, runs, comparison, remarks=remarks)


def is_sweep(path: Path) -> bool:
    """Whether a directory is a sweep's."""
    return (path / "study.json").is_file() or (path / "trials").is_dir()


def newest(experiment: str, runs: Path) -> list[Path]:
    """The newest sweep or run of that name, of the demo too; of a run also those that differ in the seed only.

    Raises:
        UserError: If there is none.
    """
    names = (experiment, f"{experiment}_demo")
    found: list[tuple[float, list[Path]]] = []
    for name in names:
        folder = below(runs / "sweeps", name)
        if is_sweep(folder):
            found.append((max(_time(path) for path in (folder, *folder.glob("trials/*/*/metrics.csv"))), [folder]))
        if begun := [path.parent for path in below(runs, name).glob("*/config.yaml") if _has_trained(path.parent)]:
            last = max(begun, key=lambda path: _time(path / "config.yaml"))
            alike = [path for path in begun if _cell(path) == _cell(last)]
            found.append((_time(last / "config.yaml"), sorted(alike)))
    if not found:
        places = ", ".join(f"{runs}/{place}{name}" for place in ("", "sweeps/") for name in names)
        raise UserError(f"EXP={experiment}: no run or sweep at {places}; make one with `make fit` or `make sweep`")
    return max(found, key=lambda each: each[0])[1]


def _has_trained(folder: Path) -> bool:
    """Whether a run has logged or saved something; one that was refused has not."""
    return (folder / "metrics.csv").is_file() or any((folder / "checkpoints").glob("*.ckpt"))


def _time(path: Path) -> float:
    return path.stat().st_mtime


def _cell(folder: Path) -> dict[str, Any]:
    """The settings that runs of one cell share."""
    return {name: value for name, value in _settings(_read_config(folder)).items() if not OWN.match(name)}


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / "config.yaml"
    config = read_yaml(path, own=False)
    trust.find_strangers(config, path)  # nothing is imported: only its form is checked
    return dict(config)


def _settings(config: Mapping[str, Any]) -> dict[str, Any]:
    return {key.replace("init_args.", ""): value for key, value in offline.flat(config).items()}


def _run(folder: Path) -> Run:
    config = _read_config(folder)
    told = folder / "trial.json"
    known = read_trial(told) if is_file(told) else {}
    scored = (folder / "metrics.json").is_file()
    trial = Trial(
        cell=str(known.get("cell", "")),
        seed=int(known.get("seed", config.get("seed_everything") or 0)),
        values=known.get("values", {}),
        folder=folder,
        state=known.get("state", "complete" if scored else "not evaluated"),
        error=known.get("error"),
        log_end=tuple(known.get("log_end") or ()),
        seconds=known.get("seconds"),
        peak_memory_bytes=known.get("peak_memory_bytes"),
        settings=_settings(config),
    )
    return Run(trial, trial.cell, config)


def _below(path: Path) -> list[Path]:
    if (path / "config.yaml").is_file():
        return [path]
    below = sorted(each.parent for each in path.glob("**/config.yaml") if (each.parent / "metrics.csv").is_file())
    if not below:
        raise UserError(f"{path} holds no run: there is no config.yaml with a metrics.csv in or below it")
    return below


def _sweep(folder: Path) -> Subject:
    trials = sorted(path.parent for path in folder.glob("trials/*/*/config.yaml"))
    if not trials:
        raise UserError(f"{folder} holds no trials; `python -m pose_lightning.sweep sweeps/NAME.yaml` runs some")
    runs = [_run(path) for path in trials]
    kept = folder / "results.json"
    remarks: list[str] = []
    ended = [_time(path) for path in folder.glob("trials/*/*/trial.json")]
    comparison: Mapping[str, Any] | None = None
    if kept.is_file() and _time(kept) >= max(ended, default=0.0):
        comparison = read_results(kept, compare.LAYOUT)
    else:
        comparison, remarks = _compared([folder], runs)
    order = [cell["cell"] for cell in comparison["cells"]] if comparison else []
    runs.sort(key=lambda run: (order.index(run.label) if run.label in order else len(order), run.label, run.trial.seed))
    return Subject(folder.resolve().name, runs, comparison, folder, remarks)


def _compared(paths: Sequence[Path], runs: Sequence[Run]) -> tuple[Mapping[str, Any] | None, list[str]]:
    """The comparison of the cells, or why there is none."""
    cells = {run.label for run in runs}
    if len(cells) < 2:
        return None, []
    if len({run.metric for run in runs}) > 1:
        return None, ["The runs are of different tasks or targets: nothing is compared."]
    if len(cells) > MOST_CELLS and not is_sweep(paths[0]):
        return None, [f"{len(cells)} cells are too many to compare by pairs here; give fewer than {MOST_CELLS + 1}."]
    try:
        trials, subject = compare.read(paths, None) if is_sweep(paths[0]) else _own(runs)
        return compare.to_json(compare_trials(trials, subject)), []
    except (UserError, ValueError) as error:
        return None, [f"The cells were not compared: {error}"]


def _own(runs: Sequence[Run]) -> tuple[list[Trial], findings.Subject]:
    """Trials of runs that no sweep has made, and what is asked of them.

    Raises:
        UserError: If two runs are the same cell and seed.
    """
    known: dict[tuple[str, int], Run] = {}
    for run in runs:
        if twin := known.get((run.label, run.trial.seed)):
            raise UserError(f"{run.name} and {twin.name} have the same settings and seed")
        known[run.label, run.trial.seed] = run
    metric = runs[0].metric
    trials = [replace(run.trial, state="complete") if run.trial.state == "not evaluated" else run.trial for run in runs]
    goal: findings.Goal = "minimize" if lower_is_better(metric) else "maximize"
    return trials, findings.Subject(", ".join(dict.fromkeys(run.experiment for run in runs)), metric, goal)
