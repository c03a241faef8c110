"""What `make` runs: a door on the real data where it is there, and on drawn demo data where it is not.

The doors themselves never fall back: `python -m pose_lightning.fit` reports a missing store.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from pose_lightning import cli, fit, kinds
from pose_lightning.errors import UserError
from pose_lightning.files import local_path
from pose_lightning.kind import Kind
from pose_lightning.options import OptionParser
from pose_lightning.reading.configs import read_yaml
from pose_lightning.terminal import say

EXPERIMENTS: Final = Path("experiments")
DEMO_DATA: Final = Path("data/demo")
FOLDS: Final = 5
"""Of the demo's activities, where folds are asked for."""


def layers(
    experiment: str,
    data: str,
    root: Path | None = None,
    fold: int | None = None,
    *,
    sweep: str | None = None,
    dry: bool = False,
) -> list[str]:
    """The arguments for an experiment: itself, its demo layers where its store is absent, and its fold.

    Args:
        experiment: Name of a file in `experiments/`.
        data: `auto`, `real` (never the demo) or `demo` (always).
        root: Where the user says the store is, in place of the experiment's own; the demo is never laid over that.
        fold: Which fold of `train.h5` validates, where it is not `val.h5` that does.
        sweep: Name of the sweep whose trials these are: they are many, and so are smaller. The layer that says so is
            the sweep's own where it has one, and otherwise the one of its experiment, in `experiments/demo/sweeps/`.
        dry: Only say so where the demo's data would have to be drawn.

    Raises:
        UserError: If there is no such experiment, or `real` was asked for and its store is absent.
    """
    path, layer = EXPERIMENTS / f"{experiment}.yaml", EXPERIMENTS / "demo" / f"{experiment}.yaml"
    if not path.is_file():
        names = ", ".join(sorted(file.stem for file in EXPERIMENTS.glob("*.yaml")))
        raise UserError(f"EXP={experiment}: no {path}; there are {names}")
    if root is not None and data == "demo":
        raise UserError(f"DATA=demo and --data.root={root} exclude each other")
    data = data if root is None else "real"
    root = root or _root(path)
    present = (root / "train.h5").is_file() and (fold is not None or _validates(path, root))
    validates = [] if fold is None else [f"--data.fold={fold}"]
    if data == "demo" or (data == "auto" and not present):
        made = _make_demo_data(root if not present else None, experiment, layer, folds=fold is not None, dry=dry)
        smaller = [f"--config={_sweep_layer(sweep, experiment)}"] if sweep else []
        elsewhere = [] if fold is None else [f"--data.root={made}"]
        return [f"--config={path}", f"--config={layer}", *smaller, *elsewhere, *validates]
    if not present:
        wanted = f"{root}/train.h5{'' if fold is not None else ' and val.h5'}"
        raise UserError(f"DATA={data}: {experiment} wants {wanted}; docs/data.md says how to convert them")
    return [f"--config={path}", *validates]


def _sweep_layer(sweep: str, experiment: str) -> Path:
    own, of_all = (EXPERIMENTS / "demo" / "sweeps" / f"{name}.yaml" for name in (sweep, experiment))
    return own if own.is_file() else of_all


def _validates(path: Path, root: Path) -> bool:
    """Whether there is something to validate on."""
    kind = _kind(path)
    return any((root / f"{split}.h5").is_file() for split in (kind.validation if kind else ("val",)))


def _kind(path: Path) -> Kind | None:
    """The task of an experiment; None of a data module of one's own."""
    return kinds.of_class(str(read_yaml(path, own=True)["data"]["class_path"]))


def _root(path: Path) -> Path:
    return Path(read_yaml(path, own=True)["data"]["init_args"]["root"])


def _make_demo_data(absent: Path | None, experiment: str, layer: Path, *, folds: bool, dry: bool) -> Path:
    """Draw what the demo layer reads, where it is not there; returns the folder of its stores."""
    why = f"{absent} is not there" if absent else "DATA=demo"
    say(f"{'# ' if dry else ''}*** DEMO: {why}; {experiment} runs on drawn people, small, by {layer} ***")
    root, kind = _root(layer), _kind(EXPERIMENTS / f"{experiment}.yaml")
    if kind is None or not kind.has("drawing"):
        raise UserError(f"EXP={experiment}: nobody has said what people to draw for it; take DATA=real")
    if folds and not kind.has("folds"):
        names = kinds.listed(kinds.having("folds"), " and ")
        raise UserError(f"FOLD: {experiment} has no folds; experiments of {names} do")
    root = DEMO_DATA / "folds" / root.name if folds else root
    if not all((root / name).is_file() for name in (("train.h5",) if folds else ("train.h5", "val.h5"))):
        if dry:
            say(f"# {root} is not drawn yet; it would be now")
        else:
            kind.part("drawing").draw(DEMO_DATA, folds=FOLDS if folds else 0)
    return root


def _given_root(args: Sequence[str]) -> Path | None:
    """Where the user says that the stores are: `--data.root=DIR`, or the two words."""
    roots = []
    for place, arg in enumerate(args):
        key, equals, value = arg.partition("=")
        if key in ("--data.root", "--data.init_args.root"):
            roots += [value] if equals else list(args[place + 1 : place + 2])
    return local_path(roots[-1]) if roots else None


@cli.door
def main(args: Sequence[str] | None = None) -> None:
    """Run the launcher; what follows `--` goes on to the door."""
    args = sys.argv[1:] if args is None else list(args)
    own, passed = (args[: args.index("--")], args[args.index("--") + 1 :]) if "--" in args else (args, [])
    parser = OptionParser(prog="python -m pose_lightning.demo", description=__doc__)
    parser.add_argument("door", choices=["fit"])
    parser.add_argument("experiment")
    parser.add_argument("--data", choices=["auto", "real", "demo"], default="auto")
    parser.add_argument("--fold", type=int, help="of the stores' folds, the one that validates (FOLD=2)")
    options = parser.parse_args(own)
    fit.main([*layers(options.experiment, options.data, _given_root(passed), options.fold), *passed])


if __name__ == "__main__":
    main()
