"""`python -m pose_lightning.convert`: what the user types and reads."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from pose_lightning.convert.__main__ import build_parser, main
from pose_lightning.store import Store


@pytest.fixture
def annotations(tmp_path: Path) -> Path:
    """HRNet's JSON of three persons."""
    joints = np.arange(32.0).reshape(16, 2).tolist()
    persons = [
        {"image": f"{name}.jpg", "center": [50.0, 60.0], "scale": scale, "joints": joints, "joints_vis": [1] * 16}
        for name, scale in (("a", 1.37), ("b", 2.21), ("c", 3.03))
    ]
    path = tmp_path / "valid.json"
    path.write_text(json.dumps(persons))
    return path


@pytest.mark.parametrize("arguments", [[], ["mpii"], ["lsp"], ["human36m"], ["clips"], ["images"], ["demo"]])
def test_help_fits_80_columns(
    arguments: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as exit_info:
        build_parser().parse_args([*arguments, "--help"])
    assert exit_info.value.code == 0
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 80


def test_what_was_written_is_printed(annotations: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["mpii", "--annotations", str(annotations), "--labels-only", "--target", str(tmp_path / "mpii")]
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    assert str(tmp_path / "mpii" / "pose" / "val.h5") in printed
    assert "3 of 3 val persons have no head size: they train, but have no PCKh" in printed
    assert "valid.json: hrnet form; centre and scale as annotated" in printed
    assert Store(tmp_path / "mpii" / "pose" / "val.h5").labels["name"].tolist() == ["a.jpg#0", "b.jpg#0", "c.jpg#0"]
    assert main(arguments) == 0  # and again


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ([], "error: give either --images DIR or --labels-only"),
        (["--labels-only", "--images", "."], "error: give either --images DIR or --labels-only"),
        (["--images", "nowhere"], "error: --images nowhere: no such folder"),
        (["--images", "."], "3 of 3 photographs for val.h5 are missing or undecodable: a.jpg (missing)"),
        (["--labels-only", "--crop", "3"], "error: --crop 3: wanted 16 to 4096 px"),
        (["--labels-only", "--headboxes", "gone.mat"], "error: gone.mat cannot be opened: there is no such file"),
    ],
)
def test_a_mistake_is_one_line_and_gives_2(
    annotations: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], message: str
) -> None:
    assert main(["mpii", "--annotations", str(annotations), "--target", str(tmp_path / "mpii"), *more]) == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert message in errors[0]
    assert not list(tmp_path.rglob("*.h5*"))


def test_lsp_without_photographs_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    joints = np.random.default_rng(0).uniform(1, 50, (14, 3, 4))
    joints[:, 2] = 1
    savemat(tmp_path / "joints.mat", {"joints": joints})
    assert main(["lsp", "--source", str(tmp_path), "--target", str(tmp_path / "out")]) == 2
    assert "4 of 4 photographs are missing" in capsys.readouterr().err
    assert main(["lsp", "--source", str(tmp_path), "--target", str(tmp_path / "out"), "--skip-missing"]) == 2
    assert "not one is left" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["missing.txt"]


def test_a_pair_of_npy_files_becomes_a_store(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frames, joints = tmp_path / "videoframes_clips_valid.npy", tmp_path / "joint_3d_clips_valid.npy"
    np.save(frames, np.zeros((2, 8, 16, 16, 3), np.uint8))
    person = 170.0 * np.repeat(np.linspace(0, 1, 17)[:, None], 3, axis=1)  # 170 large: neither m nor mm
    np.save(joints, np.broadcast_to(person, (2, 8, 17, 3)))
    arguments = ["clips", f"--frames={frames}", f"--joints={joints}", f"--target={tmp_path / 'clips'}", "--split=val"]
    assert main(arguments) == 2
    assert "which is neither 0.4 to 4.0 m nor the same in mm; if that is cm, say `--unit cm`" in capsys.readouterr().err
    for unit in ("m", "mm"):
        assert main([*arguments, f"--unit={unit}"]) == 2
        message = f"in {unit}, a person is 170 {unit} large, not 0.4 to 4.0 m; say `--unit cm`"
        assert message in capsys.readouterr().err
    assert main([*arguments, "--unit=cm", "--synthetic"]) == 0
    printed = capsys.readouterr().out
    assert "unit of the source: cm" in printed
    assert "not protocol 1" in printed
    with Store(tmp_path / "clips" / "val.h5") as store:
        assert (store.shape, store.attrs["synthetic"], store.attrs["frames"]) == ((8, 16, 16, 3), True, 8)
        assert store.attrs["counts"] == {"clips": 2, "frames": 16, "in another split": 0}
        assert np.ptp(store.labels["joints"][0, 0, :, 0]) == pytest.approx(1700)
