import csv
import json
from pathlib import Path

import pytest
from made import run, study, trial

from pose_lightning.sweep.compare import main
from pose_lightning.sweep.tables import broken


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    folder = study(tmp_path / "hourglass_optim_demo", demo=True)
    settings = {"experiment": "hourglass_mpii", "model": {"init_args": {"network": {"init_args": {"stacks": 8}}}}}
    for recipe, effect in (("sgd", 0.0), ("adam", 20.0)):
        for batch in (8, 16):
            for seed in (1, 2, 3):
                values = {"config": f"experiments/optimizers/{recipe}.yaml", "data.batch_size": batch}
                last = 30 + effect + (0.01 if recipe == "adam" else -0.01) * seed * batch
                trial(folder, f"{recipe}-batch_size={batch}", seed, values, [10.0, last], settings=settings)
    trial(
        folder,
        "rmsprop-batch_size=8",
        1,
        {"config": "experiments/optimizers/rmsprop.yaml", "data.batch_size": 8},
        [9.0],
        state="diverged",
    )
    return folder


def test_a_sweep_is_compared_in_80_columns_and_three_files(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main([str(sweep)])
    printed = capsys.readouterr().out
    table = printed[: printed.index(str(sweep))]
    assert max(map(len, table.splitlines())) <= 80
    said = " ".join(table.split())
    assert "hourglass_optim_demo, as the source ran it (synthetic data): val/pckh" in said
    assert "Drawn data: this says how the comparison works, and nothing about photographs." in said
    assert "optimizer adam beats optimizer sgd by 20.48 PCKh" in said
    assert "rmsprop-batch_size=8 diverged with seed 1" in said
    assert "88.10 in Newell et al." in said
    rows = list(csv.DictReader((sweep / "results.csv").read_text().splitlines()))
    assert [row["cell"] for row in rows][:2] == ["adam-batch_size=16", "adam-batch_size=8"]
    assert float(rows[0]["value"]) == pytest.approx(50.32)
    assert rows[-1]["diverged"] == "1"
    assert rows[-1]["value"] == ""
    told = json.loads((sweep / "results.json").read_text())
    assert told["synthetic"] is True
    assert told["cells"][0]["published"][0]["value"] == 88.1
    assert len(told["trials"]) == 13
    assert any(each["claimed"] for each in told["differences"])
    text = (sweep / "results.md").read_text()
    assert "| adam-batch_size=16 | 50.32 |" in text
    assert str(sweep) not in text


def test_comparing_twice_writes_the_same(sweep: Path) -> None:
    main([str(sweep)])
    first = [(sweep / f"results.{end}").read_bytes() for end in ("csv", "json", "md")]
    main([str(sweep)])
    assert [(sweep / f"results.{end}").read_bytes() for end in ("csv", "json", "md")] == first


def test_runs_are_compared_where_no_sweep_made_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for optimizer in ("adam", "sgd"):
        for seed in (1, 2):
            settings = {"seed_everything": seed, "model": {"init_args": {"optimizer": optimizer}}}
            run(tmp_path / f"{optimizer}-{seed}", [float(seed), 5.0 + seed], settings=settings)
    main([str(tmp_path), "--out", str(tmp_path / "out"), "--score", "6"])
    assert "optimizer=adam" in capsys.readouterr().out
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["results.csv", "results.json", "results.md"]


def test_another_metric_can_be_compared(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main([str(sweep), "--metric", "train/loss_step"])
    assert "train/loss_step, less is better" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("wrong", ["nowhere", "."])
def test_a_directory_of_nothing_is_a_users_mistake(
    tmp_path: Path, wrong: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([str(tmp_path / wrong)])
    assert stopped.value.code == 2
    assert str(tmp_path) in capsys.readouterr().err


def test_a_sweep_stands_alone(sweep: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([str(sweep), str(tmp_path)])
    assert "compared alone" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("room", "lines"),
    [
        (40, ["sgd_momentum_1e-1-batch_size=16"]),
        (30, ["sgd_momentum_1e-1", "  batch_size=16"]),
        (4, ["sgd_momentum_1e-1", "  batch_size=16"]),
    ],
)
def test_a_cells_name_is_broken_between_parameters(room: int, lines: list[str]) -> None:
    assert broken("sgd_momentum_1e-1-batch_size=16", room).split("\n") == lines


def test_long_names_stay_whole_in_80_columns(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = study(tmp_path / "sweep")
    recipe = "experiments/optimizers/sgd_momentum_1e-1.yaml"
    for batch in (8, 16):
        for seed in (1, 2):
            values = {"config": recipe, "data.batch_size": batch, "data.rotation": 30.0}
            name = f"sgd_momentum_1e-1-batch_size={batch}-rotation=30.0"
            trial(folder, name, seed, values, [12.5, 50.0 + seed * batch])
    main([str(folder)])
    printed = capsys.readouterr().out.split("- ")[0]
    assert "\n  rotation=30.0" in printed
    assert printed.count("sgd_momentum_1e-1") == 4
    assert max(map(len, printed.splitlines())) <= 80
