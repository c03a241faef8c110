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
