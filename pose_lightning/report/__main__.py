"""`python -m pose_lightning.report PATH...`: runs or a sweep as one HTML file that needs no network."""

import argparse
import sys
import webbrowser
from collections.abc import Sequence
from pathlib import Path

from pose_lightning import cli, trust
from pose_lightning.errors import UserError
from pose_lightning.files import check_target, local_path, write_text
from pose_lightning.options import OptionParser
from pose_lightning.report import build
from pose_lightning.report.gather import gather, newest
from pose_lightning.terminal import say
from pose_lightning.trust import Trust


def _parser() -> argparse.ArgumentParser:
    parser = OptionParser(prog="python -m pose_lightning.report", description=__doc__)
    parser.add_argument(
        "paths", nargs="*", type=local_path, metavar="PATH", help="runs, directories of runs, or a sweep's"
    )
    parser.add_argument("--experiment", metavar="NAME", help="in place of PATH: the newest run or sweep of that name")
    parser.add_argument("--runs", type=local_path, default=Path("runs"), help="where --experiment looks")
    parser.add_argument(
        "--out", type=local_path, metavar="FILE.html", help="default: report.html in PATH, or here of several"
    )
    parser.add_argument("--open", action="store_true", help="show it in the browser")
    parser.add_argument(
        "--without-network", action="store_true", help="load no checkpoint: no heatmaps and no size of the network"
    )
    trust.add_argument(parser)
    return parser


@cli.door
def main(args: Sequence[str] | None = None) -> None:
    """Run the door."""
    args = sys.argv[1:] if args is None else list(args)
    options = _parser().parse_args(args)
    trusted = Trust.of("report", args, options.trust)
    if bool(options.paths) == bool(options.experiment):
        raise UserError("say what to report: PATH..., or --experiment NAME")
    paths = options.paths or newest(options.experiment, options.runs)
    out = options.out or (paths[0] if len(paths) == 1 else Path()) / "report.html"
    check_target(out)
    subject = gather(paths)
    if not options.without_network:
        for run in subject.runs:
            trust.read_config(run.folder / "config.yaml", trusted)
    text = build.build(subject, with_network=not options.without_network, trusted=trusted)
    write_text(out, text)
    say(f"{out}  ({len(text.encode()) / 1e6:.1f} MB)")
    if options.open:
        webbrowser.open(out.resolve().as_uri())


if __name__ == "__main__":
    main()
