"""What `make` runs: a door on the real data where it is there, and on drawn demo data where it is not.

The doors themselves never fall back: `python -m pose_lightning.fit` reports a missing store.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import yaml

from pose_lightning import cli, fit
from pose_lightning.convert import demo
from pose_lightning.errors import UserError

EXPERIMENTS: Final = Path("experiments")
DEMO_DATA: Final = Path("data/demo")


def layers(experiment: str, data: str, root: Path | None = None) -> list[str]:
    """The `--config` arguments for an experiment: itself, and its demo layer where its store is absent.

    Args:
        experiment: Name of a file in `experiments/`.
        data: `auto`, `real` (never the demo) or `demo` (always).
        root: Where the user says the store is, in place of the experiment's own; the demo is never laid over that.

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
    present = (root / "train.h5").is_file() and (root / "val.h5").is_file()
    if data == "demo" or (data == "auto" and not present):
        _make_demo_data(root if not present else None, experiment, layer)
        return [f"--config={path}", f"--config={layer}"]
    if not present:
        raise UserError(
            f"DATA={data}: {experiment} wants {root}/train.h5 and val.h5; README.md says how to convert them"
        )
    return [f"--config={path}"]


def _root(path: Path) -> Path:
    return Path(yaml.safe_load(path.read_text())["data"]["init_args"]["root"])


def _make_demo_data(absent: Path | None, experiment: str, layer: Path) -> None:
    why = f"{absent} is not there" if absent else "DATA=demo"
    print(f"*** DEMO: {why}; {experiment} runs on drawn people, small, by {layer} ***", flush=True)
    root = _root(layer)
    if not ((root / "train.h5").is_file() and (root / "val.h5").is_file()):
        make = demo.write if root.is_relative_to(DEMO_DATA / "mpii") else demo.write_clips
        make(DEMO_DATA)


@cli.door
def main(args: Sequence[str] | None = None) -> None:
    """Run the launcher; what follows `--` goes on to the door."""
    args = sys.argv[1:] if args is None else list(args)
    own, passed = (args[: args.index("--")], args[args.index("--") + 1 :]) if "--" in args else (args, [])
    parser = argparse.ArgumentParser(prog="python -m pose_lightning.demo", description=__doc__)
    parser.add_argument("door", choices=["fit"])
    parser.add_argument("experiment")
    parser.add_argument("--data", choices=["auto", "real", "demo"], default="auto")
    options = parser.parse_args(own)
    roots = [arg.partition("=")[2] for arg in passed if arg.startswith(("--data.root=", "--data.init_args.root="))]
    root = Path(roots[-1]) if roots else None
    fit.main([*layers(options.experiment, options.data, root), *passed])


if __name__ == "__main__":
    main()
