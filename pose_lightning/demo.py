"""What `make` runs: a door on the real data where it is there, and on drawn demo data where it is not.

The doors themselves never fall back: `python -m pose_lightning.fit` reports a missing store.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import yaml

from pose_lightning import cli, fit
from pose_lightning.convert import demo
from pose_lightning.errors import UserError

EXPERIMENTS: Final = Path("experiments")
DEMO_DATA: Final = Path("data/demo")


def layers(experiment: str, data: str) -> list[str]:
    """The `--config` arguments for an experiment: itself, and its demo layer where its store is absent.

    Args:
        experiment: Name of a file in `experiments/`.
        data: `auto`, `real` (never the demo) or `demo` (always).

    Raises:
        UserError: If there is no such experiment, or `real` was asked for and its store is absent.
    """
    path, layer = EXPERIMENTS / f"{experiment}.yaml", EXPERIMENTS / "demo" / f"{experiment}.yaml"
    if not path.is_file():
        names = ", ".join(sorted(file.stem for file in EXPERIMENTS.glob("*.yaml")))
        raise UserError(f"EXP={experiment}: no {path}; there are {names}")
    root = Path(_setting(path, "data", "root"))
    present = (root / "train.h5").is_file() and (root / "val.h5").is_file()
    if data == "demo" or (data == "auto" and not present):
        _make_demo_data(root if not present else None, experiment, layer)
        return [f"--config={path}", f"--config={layer}"]
    if not present:
        raise UserError(f"DATA=real: {experiment} wants {root}/train.h5 and val.h5; README.md says how to convert them")
    return [f"--config={path}"]


def _setting(path: Path, *keys: str) -> Any:
    value = yaml.safe_load(path.read_text())
    value = value[keys[0]]["init_args"]
    for key in keys[1:]:
        value = value[key]
    return value


def _make_demo_data(absent: Path | None, experiment: str, layer: Path) -> None:
    why = f"{absent} is not there" if absent else "DATA=demo"
    print(f"*** DEMO: {why}; {experiment} runs on drawn people, small, by {layer} ***", flush=True)
    root = Path(_setting(layer, "data", "root"))
    if not ((root / "train.h5").is_file() and (root / "val.h5").is_file()):
        demo.write(DEMO_DATA)


@cli.door
def main(args: Sequence[str] | None = None) -> None:
    """Run the launcher."""
    parser = argparse.ArgumentParser(prog="python -m pose_lightning.demo", description=__doc__)
    parser.add_argument("door", choices=["fit"])
    parser.add_argument("experiment")
    parser.add_argument("--data", choices=["auto", "real", "demo"], default="auto")
    parser.add_argument("arguments", nargs="*", help="after `--`: passed on to the door")
    options = parser.parse_args(args)
    fit.main([*layers(options.experiment, options.data), *options.arguments])


if __name__ == "__main__":
    main(sys.argv[1:])
