"""The claims of the reports against made comparisons."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made import study, trial
from test_simulated import Simulated

from pose_lightning.errors import UserError
from pose_lightning.sweep.__main__ import main
from pose_lightning.sweep.claims import Measured, judge, measure, read, table, to_markdown
from pose_lightning.sweep.compare import main as compare_main
from pose_lightning.sweep.compare import to_json, write_others
from pose_lightning.sweep.comparison import compare
from pose_lightning.sweep.files import SweepFile
from pose_lightning.sweep.findings import Subject
from pose_lightning.sweep.reported import CLAIMS, Claim, Contrast

ROOT = Path(__file__).resolve().parents[2]

OPTIMIZERS = {"sgd_momentum_1e-1": 0.0, "rmsprop_2.5e-4": 4.0, "adam_1e-3": 8.0}
ADAM_BEST = Claim(
    "Adam with 16 is best.",
    "made",
    "val/pckh",
    ("hourglass_optim",),
    (
        Contrast({"optimizer": "adam*", "batch_size": "16"}, {"optimizer": "adam*", "batch_size": "8"}),
        Contrast({"optimizer": "adam*", "batch_size": "16"}, {"optimizer": "rmsprop*", "batch_size": "8"}),
    ),
)
ADAM = replace(ADAM_BEST, text="Adam is better.", contrasts=(Contrast({"optimizer": "adam*"}, {"optimizer": "rms*"}),))


@pytest.fixture
def sweeps(tmp_path: Path) -> Path:
    """hourglass_optim on drawn data: batches of 16 are two points better, Adam is the best; the seeds hardly differ."""
    folder = study(tmp_path / "sweeps" / "hourglass_optim_demo", demo=True)
    for name, effect in OPTIMIZERS.items():
        for batch in (8, 16):
            for seed in (1, 2, 3):
                values = {"config": f"experiments/optimizers/{name}.yaml", "data.batch_size": batch}
                noise = 0.01 * math.sin(7 * seed + batch + effect)
                settings = {"experiment": "hourglass_mpii", "data": {"root": "data/demo/pose"}}
                curve = [40.0, 50 + effect + batch / 4 + noise]
                trial(folder, f"{name}-batch_size={batch}", seed, values, curve, settings=settings)
    compare_main([str(folder)])
    return folder.parent


def results(sweeps: Path) -> Mapping[str, Any]:
    return read([sweeps])[0].told


def test_a_contrast_of_cells_is_their_difference(sweeps: Path) -> None:
    found = [measure(each, results(sweeps)) for each in ADAM_BEST.contrasts]
    assert [each.value for each in found] == pytest.approx([2.0, 6.0], abs=0.05)
    assert [(each.better, each.worse) for each in found] == [
        ("adam_1e-3 16", "adam_1e-3 8"),
        ("adam_1e-3 16", "rmsprop_2.5e-4 8"),
    ]
    assert all(each.low < each.value < each.high and each.seeds == 3 for each in found)


def test_a_contrast_turned_round_has_the_other_sign(sweeps: Path) -> None:
    there, back = (
        measure(each, results(sweeps))
        for each in (ADAM.contrasts[0], Contrast(ADAM.contrasts[0].worse, ADAM.contrasts[0].better))
    )
    assert (there.value, there.low, there.high) == (-back.value, -back.high, -back.low)
    assert there.value == pytest.approx(4.0, abs=0.05)
    assert there.p_value == back.p_value


def test_the_main_effect_is_taken_where_others_are_free(sweeps: Path) -> None:
    found = measure(Contrast({"batch_size": "16"}, {"batch_size": "8"}), results(sweeps))
    assert found.value == pytest.approx(2.0, abs=0.05)


def test_a_cell_that_the_sweep_has_not_is_unknown(sweeps: Path) -> None:
    found = measure(Contrast({"batch_size": "32"}, {"batch_size": "8"}), results(sweeps))
    assert not found.known
    assert judge(ADAM, [found], "maximize") == ("undecided", "no seed has both of 32 or 8")


def effect(value: float, *, half: float = 0.5, p: float = 0.01, seeds: int = 3, diverged: str = "") -> Measured:
    return Measured("a", "b", value, value - half, value + half, p, seeds, frozenset(diverged))


@pytest.mark.parametrize(
    ("found", "verdict"),
    [
        ([effect(1.0), effect(2.0, p=0.04)], "confirmed"),
        ([effect(1.0), effect(0.2, p=0.4)], "undecided"),
        ([effect(1.0), effect(-2.0, p=0.02)], "refuted"),
        ([effect(1.0, p=0.9), effect(-2.0, p=0.04)], "undecided"),  # by Holm 0.08
        ([effect(1.0, seeds=1, p=math.nan)], "undecided"),
        ([effect(1.0, diverged="b")], "confirmed"),
        ([effect(1.0, diverged="a")], "undecided"),  # its survivors flatter it
        ([effect(-1.0, diverged="b")], "undecided"),
        ([effect(1.0, p=math.nan)], "undecided"),
    ],
    ids=["all", "one open", "one against", "against by chance", "one seed", "worse", "survivors", "against", "no p"],
)
def test_verdicts_by_hand(found: Sequence[Measured], verdict: str) -> None:
    assert judge(ADAM, found, "maximize")[0] == verdict


def test_less_is_better_where_the_goal_says_so() -> None:
    assert judge(ADAM, [effect(-1.0)], "minimize")[0] == "confirmed"
    assert judge(ADAM, [effect(1.0)], "minimize")[0] == "refuted"


@pytest.mark.parametrize(
    ("found", "verdict"),
    [
        (effect(1.0), "confirmed"),
        (effect(4.8), "undecided"),
        (effect(-4.8, p=0.001), "undecided"),
        (effect(7.0), "refuted"),
        (effect(-7.0), "refuted"),
        (effect(1.0, diverged="a"), "undecided"),
        (effect(1.0, seeds=1), "undecided"),
    ],
    ids=["within", "straddles", "below", "beyond", "beyond below", "diverged", "one seed"],
)
def test_no_difference_is_told_by_the_margin(found: Measured, verdict: str) -> None:
    assert judge(replace(ADAM, margin=5.0), [found], "minimize")[0] == verdict


def test_drawn_data_is_marked_and_what_did_not_run_is_said(sweeps: Path) -> None:
    rows = table(read([sweeps]), [ADAM, replace(ADAM, sweeps=("hourglass_lsp_optim",)), replace(ADAM, metric="val/x")])
    assert [row[2] for row in rows] == ["`hourglass_optim`", "`hourglass_lsp_optim`", "`hourglass_optim`"]
    ran, absent, other = rows
    assert ran[3] == "hourglass_mpii, **drawn data**; 200 samples seen; 3 seeds"
    assert ran[4] == "as the source ran it"
    assert ran[5].startswith("adam_1e-3 - rmsprop_2.5e-4: ")
    assert ran[5].endswith(" PCKh")
    assert ran[6] == "**confirmed** on drawn data"
    assert absent[3:] == ["-", "-", "-", "not run"]
    assert other[6] == "not compared by val/x"


def test_real_data_is_named(sweeps: Path) -> None:
    path = sweeps / "hourglass_optim_demo" / "results.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "synthetic": False, "data": "lspet"}))
    (row,) = table(read([sweeps]), [ADAM])
    assert "hourglass_mpii, lspet; 200 samples" in row[3]
    assert row[6] == "**confirmed**"


def test_the_door_writes_every_claim_and_twice_the_same(sweeps: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["claims", str(sweeps)])
    printed = capsys.readouterr().out
    main(["claims", str(sweeps), "--out", str(sweeps / "claims.md")])
    assert (sweeps / "claims.md").read_text() == printed == to_markdown(table(read([sweeps])))
    lines = [line for line in printed.splitlines() if line.startswith("|")]
    assert len(lines) == 2 + sum(len(claim.sweeps) for claim in CLAIMS)
    assert len({line.count("|") for line in lines}) == 1
    assert printed.count("not run") > printed.count("drawn data |") > 0
    assert str(sweeps) not in printed


def test_a_second_metric_does_not_overwrite_the_first(sweeps: Path) -> None:
    folder = sweeps / "hourglass_optim_demo"
    before = (folder / "results.json").read_bytes()
    write_others(folder, ["val/pckh", "train/loss_step", "val/nowhere"])
    compare_main([str(folder), "--metric", "train/loss_step"])
    assert (folder / "results.json").read_bytes() == before
    assert sorted(path.name for path in folder.glob("results*.json")) == [
        "results-train_loss_step.json",
        "results.json",
    ]
    assert {each.told["metric"] for each in read([sweeps])} == {"val/pckh", "train/loss_step"}


@pytest.mark.parametrize(
    ("text", "message"),
    [("{", "is no JSON, or damaged"), ('{"layout": 1}', "of another version")],
    ids=["broken", "old"],
)
def test_a_file_that_cannot_be_used_is_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "results.json").write_text(text)
    with pytest.raises(UserError, match=rf"results\.json .*{message}"):
        read([tmp_path])


def test_nothing_to_read_is_a_users_mistake(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no results\.json"):
        read([tmp_path])


@pytest.mark.parametrize("sweep", sorted({sweep for claim in CLAIMS for sweep in claim.sweeps}))
def test_every_contrast_of_a_claim_is_in_its_sweep(sweep: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    file = SweepFile.read(ROOT / "sweeps" / f"{sweep}.yaml")
    rng = np.random.default_rng(0)
    cells = file.cells()
    if file.kind == "tuned":  # of each optimizer and batch size, one rate
        kept = ("sgd_momentum_1e-1", "rmsprop_1e-3-batch_size=8", "rmsprop_6e-5-batch_size=16", "adam_4e-3")
        cells = [cell for cell in cells if cell.name.startswith(kept)]
    trials = [
        Simulated(cell.name, seed, cell.values, Path("none"), "complete", scores=tuple(rng.normal(size=60)))
        for cell in cells
        for seed in (1, 2)
    ]
    told = to_json(compare(trials, Subject(sweep, "val/pckh", file.goal, file.kind)))
    for claim in CLAIMS:
        if sweep in claim.sweeps:
            found = [measure(contrast, told) for contrast in claim.contrasts]
            assert all(each.known and each.better != each.worse for each in found), (claim.text, found)
            assert not any("*" in f"{each.better}{each.worse}" for each in found), found
