"""What `evaluate` may be asked on the command line, and which options go with which."""

import argparse
from collections.abc import Sequence
from typing import Any

from pose_lightning import kinds, manner, trust
from pose_lightning.data import FLAG
from pose_lightning.errors import UserError
from pose_lightning.files import check_target, local_path


def parse(args: Sequence[str] | None, *, description: str | None) -> argparse.Namespace:
    """The options of a command line.

    Raises:
        UserError: If one would have no effect, or lacks another that it goes with.
    """
    options = _parser(description).parse_args(args)
    _check(options)
    return options


def file_options() -> tuple[str, ...]:
    """The options of files of predictions, each of one task's."""
    return tuple(name for kind in kinds.having("options") for name in kind.part("options").OF_FILES)


def pair_options() -> tuple[str, ...]:
    """Those of them that pairs of files have too."""
    return tuple(name for kind in kinds.having("pair") for name in kind.part("options").OF_PAIRS)


def chosen(options: argparse.Namespace, names: Sequence[str]) -> dict[str, Any]:
    """Some options by name."""
    return {name: getattr(options, name) for name in names}


def flag(name: str) -> str:
    """An option as it is typed."""
    return f"--{name.replace('_', '-')}"


def _parser(description: str | None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m pose_lightning.evaluate", description=description)
    parser.add_argument(
        "run", nargs="*", type=local_path, help="a run's directory, runs/EXPERIMENT/ID; several: a run for each fold"
    )
    parser.add_argument("--split", default="val", choices=["train", "val", "test"])
    manner.add_arguments(parser)
    parser.add_argument(
        "--data.root",
        dest="data_root",
        type=local_path,
        metavar="DIR",
        help="directory of the run's stores, where they have moved",
    )
    parser.add_argument(
        FLAG, action="store_true", help="score the run although a store is not the one that it was trained with"
    )
    parser.add_argument(
        "--overlays", type=int, default=0, metavar="N", help="draw the N best, median and worst samples"
    )
    parser.add_argument(
        "--clips", type=local_path, metavar="NPY", help="score the run on this array of clips, with --joints"
    )
    parser.add_argument("--joints", type=local_path, metavar="NPY", help="the joints of --clips")
    parser.add_argument(
        "--predictions",
        type=local_path,
        help="score this file instead: .h5 (of joints in px also .mat) with `preds`, .npy, or COCO results (.json)",
    )
    parser.add_argument(
        "--weights",
        type=local_path,
        metavar="FILE",
        help=f"score this network of heatmaps: {kinds.having('weight_file')[0].part('options').WEIGHTS}",
    )
    parser.add_argument(
        "--store", type=local_path, help="the store that --predictions belong to, or --weights are tried on"
    )
    for kind in kinds.having("options"):
        kind.part("options").add_arguments(parser)
    parser.add_argument(
        "--json",
        type=local_path,
        metavar="OUT",
        help="write the scores of --predictions, --weights, --clips or folds to a file",
    )
    trust.add_argument(parser)
    return parser


def _check(options: argparse.Namespace) -> None:
    """Refuse options that would have no effect."""
    if options.overlays < 0:
        raise UserError(f"--overlays {options.overlays} is out of range; it is 1 or more, or 0 for none")
    manner = {"--flip-test": options.flip_test, "--scales": options.scales, "--decoding": options.decoding}
    of_runs = {"--split": options.split != "val", "--overlays": options.overlays, **manner}
    of_stores = {"--data.root": options.data_root, FLAG: options.accept_changed_stores}
    of_networks = {"--trust": options.trust}
    of_pairs = {"--clips": options.clips, "--joints": options.joints}
    of_predictions = {"--store": options.store}
    of_predictions |= {flag(name): value is not None for name, value in chosen(options, file_options()).items()}
    to_json = {"--json": options.json}
    of_weights = {"--weights": options.weights, "--input-size": options.input_size is not None}
    if options.weights is not None and (options.store is None or options.run):
        raise UserError("--weights FILE goes with --store FILE, and with no run directory")
    if options.predictions is not None and (options.store is None or options.run):
        raise UserError("--predictions FILE goes with --store FILE, and with no run directory")
    if options.predictions is None and (options.clips is None) != (options.joints is None):
        raise UserError("--clips NPY and --joints NPY go together")
    if options.predictions is not None:
        kind, foreign = "--predictions", of_runs | of_stores | of_pairs | of_weights | of_networks
    elif options.weights is not None:
        kind = "--weights"
        others = {*manner, "--store"}
        foreign = {
            key: value
            for key, value in (of_runs | of_stores | of_pairs | of_predictions | of_networks).items()
            if key not in others
        }
    elif len(options.run) > 1:
        kind, foreign = "several runs, which are those of folds", of_runs | of_pairs | of_predictions | of_weights
    elif options.clips is not None:
        kind, foreign = "--clips", of_runs | of_predictions | of_weights
        foreign = {key: value for key, value in foreign.items() if key not in map(flag, pair_options())}
    else:
        kind, foreign = "a run's directory", of_predictions | of_weights | to_json
    read = [options.predictions, options.weights, options.store, options.published_truth, options.clips, options.joints]
    if options.json is not None and options.json.resolve() in [path.resolve() for path in read if path is not None]:
        raise UserError(f"--json {options.json} is read too; name another file")
    if given := [name for name, value in foreign.items() if value]:
        raise UserError(f"{', '.join(given)} cannot go with {kind}")
    if options.json is not None:
        check_target(options.json)
