"""`python -m pose_lightning.browse STORE... --out sheet.html`: a contact sheet of a data set, the suspicious first."""

import argparse
import sys
import webbrowser
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from jaxtyping import Int64
from rich.progress import track

from pose_lightning import cli
from pose_lightning.browse import augmented, overview, page
from pose_lightning.browse.cards import Card
from pose_lightning.browse.scan import Scanned, scan
from pose_lightning.browse.splits import Doubt, Splits
from pose_lightning.errors import UserError
from pose_lightning.files import check_target, local_path, write_text
from pose_lightning.options import OptionParser
from pose_lightning.terminal import Terminal, say

LIMIT: Final = 600
SCAN: Final = 20_000
SIDE: Final = 200  # px of a picture on the page
VERSIONS: Final = 11
SUSPICIOUS_SHARE: Final = 2 / 3
"""Of the pictures on the page, at most, where there are others too."""

ANOTHER: Final = 0.2
"""Weight of the lesser of two doubts about a sample."""

MOST_VALUES: Final = 400


def browse(
    paths: Sequence[Path],
    out: Path,
    *,
    limit: int = LIMIT,
    scanned: int = SCAN,
    seed: int = 0,
    samples: Sequence[str] = (),
    experiment: Sequence[Path] = (),
    settings: Sequence[str] = (),
) -> Path:
    """Write the contact sheet of some stores.

    Args:
        paths: Stores, or folders of stores, of one kind.
        out: The HTML file.
        limit: Samples with a picture on the page, at most.
        scanned: Samples whose picture is looked at for what is suspicious, at most.
        seed: Of which samples are shown beside the suspicious ones.
        samples: Names that are shown first, in any case.
        experiment: YAML files whose augmentation is shown of the first of `samples`, or of the first one trained on.
        settings: Further arguments of `fit` for it.

    Raises:
        UserError: If a store is missing or damaged, or an argument does not fit.
    """
    if limit < 1 or scanned < 0:
        raise UserError(f"--limit {limit} and --scan {scanned}; at least 1 and 0 are needed")
    check_target(out)
    with Splits.open(paths) as splits:
        wanted = [splits.find(name) for name in samples]
        looked = scan(splits, _some(len(splits), scanned, seed)) if splits.has_pixels and scanned else None
        doubts = splits.sheet.doubts(splits, looked)
        order = _order(splits, doubts, wanted, limit, seed)
        versions = _versions(splits, wanted, experiment, settings) if experiment else []
        text = _page(splits, looked, doubts, order, wanted, versions, experiment)
    write_text(out, text)
    _say(doubts, len(order), out)
    return out


def _some(count: int, most: int, seed: int) -> Int64[np.ndarray, " m"]:
    """Numbers below `count`, ascending: all, or `most` drawn ones."""
    if count <= most:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed).choice(count, most, replace=False))


def _order(splits: Splits, doubts: Sequence[Doubt], wanted: Sequence[int], limit: int, seed: int) -> list[int]:
    """Which samples are shown: the named, the suspicious from the worst on, and some of all others."""
    strength: dict[int, float] = {}
    for doubt in doubts:  # each further doubt adds a little
        before = strength.get(doubt.index, 0.0)
        strength[doubt.index] = max(before, doubt.strength) + ANOTHER * min(before, doubt.strength)
    suspicious = sorted(strength, key=lambda index: (-strength[index], index))
    kept = suspicious[: max(1, round(SUSPICIOUS_SHARE * limit))]
    shown = list(dict.fromkeys([*wanted, *kept]))[:limit]
    others = np.setdiff1d(np.arange(len(splits)), [*suspicious, *wanted])
    return shown + others[_some(len(others), limit - len(shown), seed)].tolist()


def _versions(splits: Splits, wanted: Sequence[int], experiment: Sequence[Path], settings: Sequence[str]) -> list[Card]:
    folders = {store.path.parent for store in splits.stores}
    if len(folders) > 1:
        raise UserError("--experiment shows one data set's training; name the stores of one folder")
    data = augmented.data_module(experiment, folders.pop(), settings)
    name = str(splits.labels["name"][wanted[0]]) if wanted else data.source("train", augment=False).name(0)
    return augmented.versions(data, name, VERSIONS, SIDE)


def _page(
    splits: Splits,
    looked: Scanned | None,
    doubts: Sequence[Doubt],
    order: Sequence[int],
    wanted: Sequence[int],
    versions: Sequence[Card],
    experiment: Sequence[Path],
) -> str:
    sheet = splits.sheet
    facets = _facets(splits)
    reasons: dict[int, list[Doubt]] = {}
    for doubt in sorted(doubts, key=lambda each: -each.strength):
        reasons.setdefault(doubt.index, []).append(doubt)
    samples = []
    for index in track(order, "Drawing", console=Terminal(stderr=True), transient=True):
        samples.append(
            {
                **sheet.card(splits, index, SIDE).to_json(),
                "name": str(splits.labels["name"][index]),
                "why": [[doubt.rule, doubt.reason] for doubt in reasons.get(index, [])],
                "facets": [facet["of"][index] for facet in facets],
            }
        )
    shown = {index: place for place, index in enumerate(order)}
    features = sheet.features(splits, looked)
    drawn = None if features is None else overview.principal(*features)
    data: dict[str, Any] = {
        "samples": samples,
        "rules": page.RULES,
        "facets": [{"name": facet["name"], "values": facet["values"]} for facet in facets],
        "splits": splits.names,
        "size": sheet.SIZE,
        "total": _total(splits, reasons, looked),
        "map": None if drawn is None else drawn.to_json(splits, shown),
        "versions": [version.to_json() for version in versions],
        "augmented": _about(splits, wanted, experiment),
        **sheet.skeleton(splits),
    }
    dataset = str(splits.attr("dataset") or splits.stores[0].path.parent.name)
    warning = "SYNTHETIC: these people are drawn, not photographed." if splits.synthetic else ""
    return page.render(
        f"{dataset}: {len(splits):,} {sheet.NOUN}",
        facts=_facts(splits),
        warning=warning,
        charts=[chart for chart in sheet.charts(splits) if len(chart.labels)],
        data=data,
    )


def _facets(splits: Splits) -> list[dict[str, Any]]:
    """The menus: their values, and which one each sample has."""
    facets = [{"name": "Split", "values": splits.names, "of": splits.split.tolist()}]
    for field in splits.sheet.FACETS:
        if field in splits.labels:
            values, of = np.unique(splits.labels[field], return_inverse=True)
            if 1 < len(values) <= MOST_VALUES:
                facets.append({"name": field.capitalize(), "values": values.tolist(), "of": of.ravel().tolist()})
    return facets


def _facts(splits: Splits) -> list[str]:
    lines = []
    for name, store in zip(splits.names, splits.stores, strict=True):
        counts = {key: count for key, count in (store.attrs.get("counts") or {}).items() if isinstance(count, int)}
        said = ", ".join(f"{key.replace('_', ' ')} {count:,}" for key, count in counts.items())
        lines.append(f"{name}: {len(store):,} in {store.path}{f' ({said})' if said else ''}")
    return [*lines, *([f"Splits: {rule}"] if (rule := splits.attr("split_rule")) else [])]


def _total(splits: Splits, reasons: dict[int, list[Doubt]], looked: Scanned | None) -> str:
    seen = (
        "without pictures"
        if looked is None
        else "all pictures looked at"
        if len(looked) == len(splits)
        else f"{len(looked):,} pictures looked at"
    )
    return f"The data set has {len(splits):,} samples, {len(reasons):,} suspicious ({seen})."


def _about(splits: Splits, wanted: Sequence[int], experiment: Sequence[Path]) -> str:
    which = f"{splits.labels['name'][wanted[0]]}" if wanted else "The first training sample"
    files = " + ".join(str(path) for path in experiment)
    return f"{which}, as validation sees it and as training with {files} sees it epoch by epoch."


def _say(doubts: Sequence[Doubt], shown: int, out: Path) -> None:
    counts = Counter(rule for rule, _ in {(doubt.rule, doubt.index) for doubt in doubts})
    for rule, text in page.RULES.items():
        if counts[rule]:
            say(f"{counts[rule]:6,}  {text}")
    say(f"{out}: {shown:,} samples, {out.stat().st_size / 2**20:.1f} MiB")


def _parser() -> argparse.ArgumentParser:
    parser = OptionParser(prog="python -m pose_lightning.browse", description=__doc__)
    parser.add_argument("stores", type=local_path, nargs="+", metavar="STORE", help="a .h5 file, or a folder of them")
    parser.add_argument("--out", type=local_path, default=Path("sheet.html"), metavar="FILE", help="(sheet.html)")
    parser.add_argument("--open", action="store_true", help="open it in the browser")
    parser.add_argument("--limit", type=int, default=LIMIT, help=f"samples on the page ({LIMIT})")
    parser.add_argument("--scan", type=int, default=SCAN, help=f"pictures looked at for doubts ({SCAN}); 0 is quick")
    parser.add_argument("--seed", type=int, default=0, help="of the samples shown beside the suspicious ones (0)")
    parser.add_argument("--sample", action="append", default=[], metavar="NAME", help="show it first; repeatable")
    parser.add_argument(
        "--experiment",
        type=local_path,
        action="append",
        default=[],
        metavar="YAML",
        help="show what its augmentation makes of the first --sample; repeat for layers",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="--KEY=VALUE",
        help="a setting over it, as --set=--data.rotation=9",
    )
    return parser


@cli.door
def main(args: Sequence[str] | None = None) -> None:
    """Run the door."""
    options = _parser().parse_args(args)
    out = browse(
        options.stores,
        options.out,
        limit=options.limit,
        scanned=options.scan,
        seed=options.seed,
        samples=options.sample,
        experiment=options.experiment,
        settings=options.set,
    )
    if options.open:
        webbrowser.open(out.resolve().as_uri())


if __name__ == "__main__":
    main(sys.argv[1:])
