"""The launcher behind `make fit`: real data where it is there, drawn people where it is not."""

import shutil
from pathlib import Path

import pytest

from pose_lightning import demo
from pose_lightning.errors import UserError

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the experiments and no data."""
    shutil.copytree(ROOT / "experiments", tmp_path / "experiments")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def lay(stores: Path, root: Path) -> None:
    root.mkdir(parents=True)
    for split in ("train", "val"):
        shutil.copy(stores / f"{split}.h5", root)


def test_an_absent_store_lays_the_demo_over_and_says_so(
    project: Path, demo_stores: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lay(demo_stores, project / "data/demo/mpii/pose")
    configs = demo.layers("hourglass_mpii", "auto")
    assert configs == ["--config=experiments/hourglass_mpii.yaml", "--config=experiments/demo/hourglass_mpii.yaml"]
    said = capsys.readouterr().out
    assert said.startswith("*** DEMO: data/mpii/pose is not there")
    assert len(said.splitlines()) == 1


def test_trials_of_a_sweep_are_smaller_and_only_in_the_demo(project: Path, demo_stores: Path) -> None:
    lay(demo_stores, project / "data/demo/mpii/pose")
    smaller = "--config=experiments/demo/sweeps/hourglass_mpii.yaml"
    assert demo.layers("hourglass_mpii", "auto", sweep="hourglass") == [*demo.layers("hourglass_mpii", "auto"), smaller]
    lay(demo_stores, project / "data/mpii/pose")
    assert demo.layers("hourglass_mpii", "auto", sweep="hourglass") == ["--config=experiments/hourglass_mpii.yaml"]


def test_a_sweep_with_a_layer_of_its_own_has_that_one() -> None:
    last = demo.layers("regression_vgg_lstm", "demo", sweep="regression_architecture", dry=True)[-1]
    assert last == "--config=experiments/demo/sweeps/regression_architecture.yaml"
    last = demo.layers("regression_vgg_lstm", "demo", sweep="regression_batch", dry=True)[-1]
    assert last == "--config=experiments/demo/sweeps/regression_vgg_lstm.yaml"


def test_a_store_that_is_there_is_used(project: Path, demo_stores: Path) -> None:
    lay(demo_stores, project / "data/mpii/pose")
    assert demo.layers("hourglass_mpii", "auto") == ["--config=experiments/hourglass_mpii.yaml"]


def test_data_real_never_falls_back(project: Path) -> None:
    with pytest.raises(UserError, match=r"DATA=real.*data/mpii/pose/train\.h5"):
        demo.layers("hourglass_mpii", "real")
    assert not (project / "data").exists()


def test_half_a_store_is_no_store(project: Path, demo_stores: Path) -> None:
    lay(demo_stores, project / "data/mpii/pose")
    (project / "data/mpii/pose/val.h5").unlink()
    with pytest.raises(UserError, match="DATA=real"):
        demo.layers("hourglass_mpii", "real")


def test_an_unknown_experiment_lists_the_ones_there_are(project: Path) -> None:
    with pytest.raises(UserError, match=r"EXP=nothing.*hourglass_lsp, hourglass_mpii"):
        demo.layers("nothing", "auto")


def test_what_follows_the_dashes_goes_on_to_the_door(
    project: Path, demo_stores: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lay(demo_stores, project / "data/mpii/pose")
    for passed, reason in ((["--model.no_such=1"], "no_such"), (["--trainer.fast_dev_run=oui"], "fast_dev_run")):
        with pytest.raises(SystemExit) as stop:
            demo.main(["fit", "hourglass_mpii", "--data", "auto", "--", *passed])
        assert stop.value.code == 2
        assert reason in capsys.readouterr().err


def test_the_door_opens_without_further_arguments(
    project: Path, demo_stores: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lay(demo_stores, project / "data/mpii/pose")
    monkeypatch.setenv("WANDB_MODE", "disabled")
    small = [f"model.network.{size}" for size in ("stacks=1", "features=8", "depth=2")]
    small += ["data.input_size=64", "trainer.max_epochs=1", "trainer.log_every_n_steps=1"]
    demo.main(["fit", "hourglass_mpii", "--data", "real", "--", *(f"--{each}" for each in small)])
    assert list(project.glob("runs/hourglass_mpii/*/metrics.json"))
    with pytest.raises(SystemExit):
        demo.main(["fit", "nothing", "--data", "auto", "--"])


def test_the_demo_is_never_laid_over_a_store_that_the_user_names(project: Path, demo_stores: Path) -> None:
    assert demo.layers("hourglass_mpii", "auto", demo_stores) == ["--config=experiments/hourglass_mpii.yaml"]
    with pytest.raises(UserError, match="elsewhere"):
        demo.layers("hourglass_mpii", "auto", Path("elsewhere"))


@pytest.mark.parametrize("words", [["--data.root=data/human36m"], ["--data.root", "data/human36m"]])
def test_clips_of_the_official_files_need_no_validation_split(
    project: Path, demo_clip_stores: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    (project / "data/human36m").mkdir(parents=True)
    for split in ("train", "test"):
        shutil.copy(demo_clip_stores / f"{split}.h5", project / "data/human36m")
    opened: list[list[str]] = []
    monkeypatch.setattr(demo.fit, "main", opened.append)
    demo.main(["fit", "regression_temporal", "--data", "auto", "--", *words])
    assert opened == [["--config=experiments/regression_temporal.yaml", *words]]
    with pytest.raises(UserError, match=r"hourglass_mpii wants data/human36m/train\.h5 and val\.h5"):
        demo.layers("hourglass_mpii", "auto", Path("data/human36m"))


def test_folds_are_those_of_activities_and_of_their_store(project: Path, demo_activity_stores: Path) -> None:
    with pytest.raises(UserError, match="hourglass_mpii has no folds"):
        demo.layers("hourglass_mpii", "auto", fold=1)
    (project / "data/mpii/activity").mkdir(parents=True)
    shutil.copy(demo_activity_stores / "train.h5", project / "data/mpii/activity")
    assert demo.layers("activity_xception", "real", fold=2) == [
        "--config=experiments/activity_xception.yaml",
        "--data.fold=2",
    ]
