"""`python -m pose_lightning.evaluate`: the tables of a run, or of anyone's predictions."""

import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pose_lightning import cli, kinds
from pose_lightning.cli import PoseCLI
from pose_lightning.curves import write_curves
from pose_lightning.data import StoreDataModule
from pose_lightning.errors import UserError
from pose_lightning.evaluate_options import chosen, file_options, flag, pair_options, parse
from pose_lightning.files import write_json
from pose_lightning.geometry import Size, in_words
from pose_lightning.runs import RunDirectory
from pose_lightning.scoring import Outcome, Scoring
from pose_lightning.store import Store
from pose_lightning.task import Task
from pose_lightning.terminal import Terminal, say
from pose_lightning.trained import PLAIN, Manner, load, manner_from, open_weights, predict
from pose_lightning.trust import NOBODY, Trust


def scoring_of(task: Task, data: StoreDataModule) -> Scoring:
    """How the predictions of a task are scored, and those of tasks derived from it.

    Raises:
        UserError: If it is derived from none that can be.
    """
    kind = kinds.of(task)
    if kind is None or not kind.has("scoring"):
        names = kinds.listed(kinds.having("scoring"))
        raise UserError(
            f"the predictions of {type(task).__name__} cannot be scored: it is derived from none of {names}"
        )
    scoring: Scoring = kind.part("scoring").of(data)
    return scoring


def evaluate_run(
    run: RunDirectory,
    *,
    split: str = "val",
    manner: Manner = PLAIN,
    overlays: int = 0,
    trusted: Trust = NOBODY,
    root: Path | None = None,
    accept_changed_stores: bool = False,
) -> Outcome:
    """Score a run's best checkpoint on a split of its data, print the tables and write them into the run's directory.

    Writes `metrics.json`, `predictions.h5`, `samples.h5`, `curves/` and, where asked for, `overlays/`; for another
    split than `val`, `metrics-SPLIT.json` and so on.

    Raises:
        UserError: If the run has no checkpoint, the split has no store, or a store is not the run's and changes are not
            accepted.
    """
    built, checkpoint, step = load(
        run, manner=manner, trusted=trusted, root=root, accept_changed_stores=accept_changed_stores
    )
    data = built.datamodule
    scoring: Any = scoring_of(built.model, data)
    drawing = kinds.having("overlays")
    if overlays and kinds.of(built.model) not in drawing:
        raise UserError(f"--overlays draws poses in px, which only runs of {kinds.listed(drawing)} predict")
    with ExitStack() as stack:
        store, train = (stack.enter_context(data.samples(each)) for each in (split, "train"))
        say(f"evaluating {checkpoint} (step {step}) on {split}{manner}")
        found = predict(built, split)
        outcome = scoring.judge(found, store, train, title=built.config.experiment)
        suffix = "" if split == "val" else f"-{split}"
        metrics_path, predictions_path = run.path / f"metrics{suffix}.json", run.path / f"predictions{suffix}.h5"
        changed = data.changed_stores
        chosen = checkpoint == run.best and data.same_samples(split, "val") and not changed.keys() & {split, "val"}
        facts = {
            "checkpoint": checkpoint.name,
            "step": step,
            **manner.facts,
            "chosen_on_this_split": chosen,
            "changed_stores": {name: [asdict(before), asdict(now)] for name, (before, now) in changed.items()},
        }
        scoring.write_predictions(predictions_path, found, store, split=split)
        samples_path = run.path / f"samples{suffix}.h5"
        scoring.sample_scores(found, store).write(samples_path, step=step, as_validated=manner == PLAIN, split=split)
        written = [metrics_path, predictions_path, samples_path, *_curves(run, built)]
        written += scoring.write_files(run.path, outcome, suffix=suffix)
        if overlays:
            folder = run.path / f"overlays{suffix}"
            written.append(folder)
            scoring.write_overlays(folder, found, store, overlays)
        write_json(metrics_path, {**facts, **outcome.json})  # the last: by it a sweep knows that a trial is finished
    note = f"best.ckpt was chosen by {built.followed[0]} on this split: a little optimistic." if chosen else ""
    others = [
        f"ANOTHER {name.upper()} STORE than the run's: {now}, not {before}." for name, (before, now) in changed.items()
    ]
    _print(
        outcome,
        " ".join(filter(None, [manner.note, note, *others])),
        [run.path, checkpoint, run.path / "metrics.csv", *written],
    )
    return outcome


def evaluate_weights(
    path: Path, store_path: Path, *, manner: Manner = PLAIN, input_size: Size | None = None, json: Path | None = None
) -> Outcome:
    """Score a file of weights, as `export` makes them, on a store, and print the tables.

    The baselines come from `train.h5` beside the store, where there is one.

    Args:
        path: The file.
        store_path: The store.
        manner: How the network is asked.
        input_size: Of the network's input, px; None is the file's own.
        json: Also write the scores here.

    Raises:
        UserError: If the file does not say which network it is of, or the store has no pixels or is of another kind.
    """
    built = open_weights(path).build(store_path.parent, input_size)
    built.datamodule.store_path = lambda split: store_path
    manner.apply(built.model, built.datamodule)
    train_path = store_path.with_name("train.h5")
    with ExitStack() as stack:
        store = stack.enter_context(Store(store_path))
        train = stack.enter_context(Store(train_path)) if train_path.is_file() else None
        say(f"evaluating {path} on {store_path} at {in_words(built.datamodule.input_size)} px{manner}")
        found = predict(built, "val")
        outcome = scoring_of(built.model, built.datamodule).judge(found, store, train, title=path.stem)
    if json is not None:
        facts = {"weights": path.name, "input_size": built.datamodule.input_size, **manner.facts}
        write_json(json, {**facts, **outcome.json})
    _print(outcome, manner.note, [json] if json else [])
    return outcome


def evaluate_pair(
    run: RunDirectory,
    clips: Path,
    joints: Path,
    *,
    json: Path | None = None,
    trusted: Trust = NOBODY,
    root: Path | None = None,
    accept_changed_stores: bool = False,
    **options: Any,
) -> Outcome:
    """Score a run's best checkpoint on a pair of `.npy` files, read piece by piece: the course's `evaluate.py`.

    Raises:
        UserError: If the run's task takes no such pair, or the files are none.
    """
    built, checkpoint, step = load(run, trusted=trusted, root=root, accept_changed_stores=accept_changed_stores)
    kind = kinds.of(built.model)
    if kind is None or not kind.has("pair"):
        names = kinds.listed(kinds.having("pair"))
        raise UserError(f"{run.path} is a run of {type(built.model).__name__}; --clips needs one of {names}")
    with ExitStack() as stack:
        pair = stack.enter_context(kind.part("pair").open_pair(clips, joints, **options))
        train_path = built.datamodule.store_path("train")
        train = stack.enter_context(built.datamodule.store("train")) if train_path.is_file() else None
        built.datamodule.read_from(pair)
        say(f"evaluating {checkpoint} (step {step}) on {clips}")
        found = predict(built, "test")
        scoring = scoring_of(built.model, built.datamodule)
        outcome = scoring.judge(found, pair, train, title=built.config.experiment)
    if json is not None:
        write_json(json, {"checkpoint": checkpoint.name, "step": step, "clips": clips.name, **outcome.json})
    _print(outcome, "", [json] if json else [])
    return outcome


def _curves(run: RunDirectory, built: PoseCLI) -> list[Path]:
    metrics = run.path / "metrics.csv"
    if not metrics.is_file():
        return []
    title = f"{built.config.experiment}{' (synthetic data)' if built.datamodule.synthetic else ''}"
    data = built.datamodule
    epoch = data.samples_per_pass
    return write_curves(run.path / "curves", metrics, built.model.curves, title=title, epoch=epoch)


def evaluate_predictions(path: Path, store_path: Path, *, json: Path | None = None, **options: Any) -> Outcome:
    """Score predictions from a file on a store, in the store's order, and print the tables.

    The baselines come from `train.h5` beside the store, where there is one.
    """
    train_path = store_path.with_name("train.h5")
    with ExitStack() as stack:
        store = stack.enter_context(Store(store_path))
        train = stack.enter_context(Store(train_path)) if train_path.is_file() else None
        outcome, facts = _judge_file(path, store, train, **options)
    if json is not None:
        write_json(json, {**facts, **outcome.json})
    _print(outcome, "", [json] if json else [])
    return outcome


def _judge_file(path: Path, store: Store, train: Store | None, **options: Any) -> tuple[Outcome, Mapping[str, Any]]:
    """Score a file as the store's kind of samples is scored, with the options that go with it."""
    name = str(store.attrs.get("kind"))
    kind = kinds.of_store(name) or kinds.KINDS[0]  # which refuses the store by name
    has = kind.part("options").OF_FILES if kind.has("options") else ()
    given = [key for key, value in options.items() if value is not None]
    if foreign := [flag(key) for key in given if key not in has]:
        raise UserError(f"{', '.join(foreign)} cannot go with {store.path}, which holds {name}")
    judged: tuple[Outcome, Mapping[str, Any]] = kind.part("scoring").judge_file(
        path, store, train, **{key: options.get(key) for key in has}
    )
    return judged


def evaluate_folds(
    runs: Sequence[RunDirectory],
    *,
    json: Path | None = None,
    trusted: Trust = NOBODY,
    root: Path | None = None,
    accept_changed_stores: bool = False,
) -> Outcome:
    """Score the predictions of one run for every fold as one, and print the spread over folds.

    Raises:
        UserError: If they are not runs of a task with folds, one for every fold, or one was not evaluated.
    """
    stores: dict[str, Any] = {"root": root, "accept_changed_stores": accept_changed_stores}
    data = [load(run, trusted=trusted, **stores)[0].datamodule for run in runs]
    for run, each in zip(runs, data, strict=True):
        if kinds.of(each) not in kinds.having("folds") or each.fold is None:
            raise UserError(f"{run.path} was not trained on folds (FOLD=0 and so on); several runs are those of folds")
        if not (run.path / "predictions.h5").is_file():
            raise UserError(f"{run.path} has no predictions.h5; run `python -m pose_lightning.evaluate {run.path}`")
        if (each.checksum("val"), each.target) != (data[0].checksum("val"), data[0].target):
            raise UserError(f"{run.path} has another store or target than {runs[0].path}; folds are of one store")
    folds = kinds.having("folds")[0].part("folds")
    with ExitStack() as stack:
        store, *_ = [stack.enter_context(module.store("val")) for module in data]
        paths = [run.path / "predictions.h5" for run in runs]
        outcome = folds.judge_folds(paths, store, target=data[0].target, title=runs[0].path.parent.name)
    if json is not None:
        write_json(json, outcome.json)
    _print(outcome, "", [json] if json else [])
    return outcome


def _print(outcome: Outcome, note: str, paths: Sequence[Path]) -> None:
    console = Terminal(width=min(80, Terminal().width), highlight=False)
    console.print(outcome.table)
    if note:
        console.print(f"  {note}")
    for path in paths:
        say(path)


@cli.door
def main(args: Sequence[str] | None = None) -> None:
    """Run the door."""
    args = sys.argv[1:] if args is None else list(args)
    options = parse(args, description=__doc__)
    trusted = Trust.of("evaluate", args, options.trust)
    if options.predictions is not None:
        evaluate_predictions(
            options.predictions,
            options.store,
            json=options.json,
            **chosen(options, file_options()),
        )
        return
    if options.weights is not None:
        evaluate_weights(
            options.weights,
            options.store,
            manner=manner_from(options),
            input_size=options.input_size,
            json=options.json,
        )
        return
    if not options.run:
        raise UserError("say what to score: a run's directory, or --predictions or --weights FILE with --store FILE")
    run, *others = [RunDirectory.open(path) for path in options.run]
    common: dict[str, Any] = {
        "trusted": trusted,
        "root": options.data_root,
        "accept_changed_stores": options.accept_changed_stores,
    }
    if others:
        evaluate_folds([run, *others], json=options.json, **common)
    elif options.clips is not None:
        evaluate_pair(
            run,
            options.clips,
            options.joints,
            json=options.json,
            **common,
            **{name: getattr(options, name) for name in pair_options()},
        )
    else:
        with run.owned():
            evaluate_run(run, split=options.split, manner=manner_from(options), overlays=options.overlays, **common)


if __name__ == "__main__":
    main(sys.argv[1:])
