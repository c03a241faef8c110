"""The page of every task, as text and as a browser sees it."""

import base64
import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import simplejpeg

from pose_lightning import cli
from pose_lightning.heatmap import page as people
from pose_lightning.joints import MPII
from pose_lightning.regression import page as clips
from pose_lightning.report.__main__ import main
from pose_lightning.report.curves import _rows
from pose_lightning.report.estimates import over_seeds
from pose_lightning.report.gather import gather
from tests.untrained import save

HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def page(runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of three hourglasses, the best of which has a checkpoint."""
    best = gather([runs / "hourglass_mpii_demo"]).best.folder
    built = cli.build([f"--config={best / 'config.yaml'}"])
    (best / "checkpoints").mkdir(exist_ok=True)
    save(built, best / "checkpoints" / "best.ckpt", 30)
    out = tmp_path_factory.mktemp("pages") / "report.html"
    main([str(runs / "hourglass_mpii_demo"), "--out", str(out)])
    return out


def sections(text: str) -> list[str]:
    return re.findall(r'<section id="([\w-]+)"', text)


def test_a_report_of_hourglasses_has_all_sections(page: Path) -> None:
    text = page.read_text()
    names = ["run", "comparison", "curves", "scores-heatmapestimation", "thresholds", "people", "heatmaps", "cost"]
    assert sections(text) == names
    for said in (
        "DEMO.",
        "Most confident mistakes",
        "stack 2",
        "python -m pose_lightning.fit --config=",
        "multiply-adds",
    ):
        assert said in text
    assert re.search(r"left wrist, stack 2", text)


def test_every_picture_and_table_has_a_text(page: Path) -> None:
    text = page.read_text()
    assert all(re.search(r' alt="[^"]+"', tag) for tag in re.findall(r"<img [^>]*>", text))
    assert text.count("<table") == text.count("<caption>")
    assert text.count("<img") > 20


def test_a_run_that_was_asked_otherwise_says_so_beside_its_scores(runs: Path, tmp_path: Path) -> None:
    shutil.copytree(runs / "hourglass_mpii_demo", tmp_path / "runs")
    plain = tmp_path / "plain.html"
    main([str(tmp_path / "runs"), "--out", str(plain)])
    assert "asked with" not in plain.read_text()
    path = tmp_path / "runs" / "faster" / "metrics.json"
    scores = json.loads(path.read_text())
    path.write_text(json.dumps(scores | {"flip_test": True, "scales": [0.9, 1.1], "decoding": "dark"}))
    main([str(tmp_path / "runs"), "--out", str(tmp_path / "asked.html")])
    text = (tmp_path / "asked.html").read_text()
    assert "asked with flip test, scales 0.9 1.1, dark." in text
    assert "do not compare by these numbers" in text


def test_published_numbers_are_named_as_of_other_data_beside_drawn_people(page: Path) -> None:
    assert "(OTHER DATA)" in page.read_text()


def test_a_browser_finds_no_error_asks_for_nothing_and_shows_the_score(
    page: Path, browse: Callable[..., object], runs: Path
) -> None:
    seen = browse(page)
    assert seen.console == []
    assert seen.requests == []
    assert 'data-ready="true"' in seen.dom
    run = gather([runs / "hourglass_mpii_demo" / "faster"]).runs[0]
    score = run.scores["val"]["measures"]["pckh@0.5"]["Head"]["value"]
    assert f"{score:.4g}" in re.findall(r">(\d+\.?\d*)</text>", seen.dom)  # beside its bar, which a script has drawn


def test_the_browser_check_can_fail(tmp_path: Path, browse: Callable[..., object]) -> None:
    wrong = tmp_path / "wrong.html"
    wrong.write_text('<!doctype html><img src="https://example.com/x.png"><script>nobody()</script>')
    seen = browse(wrong)
    assert "ReferenceError" in seen.console[0]
    assert "https://example.com/x.png" in seen.requests


def test_a_report_of_clips_shows_frames_and_poses(runs: Path, tmp_path: Path) -> None:
    main([str(runs / "regression_conv_lstm_demo" / "a"), "--out", str(tmp_path / "r.html"), "--without-network"])
    text = (tmp_path / "r.html").read_text()
    assert sections(text) == ["run", "curves", "scores-clipregression", "clips", "cost"]
    assert text.count('data-chart="pose"') == 3
    frames = gather([runs / "regression_conv_lstm_demo"]).best
    assert len(re.findall(r"<figcaption>\d: \d+ mm</figcaption>", text)) == 3 * clips.read(frames).preds.shape[1]
    assert "on the frames: the truth" in text


def test_runs_of_several_tasks_show_pictures_of_each(runs: Path, tmp_path: Path) -> None:
    main([str(runs), "--out", str(tmp_path / "r.html"), "--without-network"])
    text = (tmp_path / "r.html").read_text()
    assert {"people", "clips", "pictures"} <= set(sections(text))
    assert len(sections(text)) == len(set(sections(text)))


def test_every_joint_has_a_row_with_its_interval(page: Path, runs: Path) -> None:
    run = gather([runs / "hourglass_mpii_demo" / "faster"]).runs[0]
    wrist = run.scores["val"]["measures"]["pckh@0.5"]["left wrist"]
    row = re.search(r'<th scope="row">left wrist</th>(.*?)</tr>', page.read_text())
    assert row is not None
    said = f"{wrist['value']:.1f} <small>{wrist['low']:.1f} to {wrist['high']:.1f}</small>"
    assert f"<td>{said}</td>" in row[1]


def test_a_joint_far_off_is_red_on_the_frames(runs: Path) -> None:
    split = clips.read(gather([runs / "regression_conv_lstm_demo"]).best)
    near, far = split.truth.joints.copy(), split.truth.joints.copy()
    near[..., 0] += 149
    far[..., 0] += 151
    drawn = [clips._frames(replace(split, preds=preds), 0) for preds in (near, far)]
    assert [reddest(html) for html in drawn] == [False, True]


def reddest(html: str) -> bool:
    """Whether a picture has pixels of the red of wrong joints."""
    found = False
    for encoded in re.findall(r"base64,([^\"]+)", html):
        red, green, blue = np.moveaxis(simplejpeg.decode_jpeg(base64.b64decode(encoded)).astype(int), -1, 0)
        found |= bool(((red > 180) & (green < 70) & (blue < 70)).any())
    return found


def test_poses_are_seen_where_the_store_says(runs: Path) -> None:
    split = clips.read(gather([runs / "regression_conv_lstm_demo"]).best)
    truth, preds = clips._projected(split, 0)
    assert truth is not None
    assert preds is not None
    np.testing.assert_allclose(truth, split.store.labels["points"][0], atol=0.5)
    assert not np.allclose(preds, truth, atol=0.5)


def test_a_report_of_activities_shows_five_classes_for_a_picture(runs: Path, tmp_path: Path) -> None:
    main([str(runs / "activity_images_demo" / "a"), "--out", str(tmp_path / "r.html")])
    text = (tmp_path / "r.html").read_text()
    assert sections(text) == ["run", "curves", "scores-activityclassification", "pictures", "cost"]
    lists = re.findall(r'<ol class="top">(.*?)</ol>', text)
    assert lists
    assert {each.count("<li") for each in lists} == {5}
    assert "Confusion matrix" in text


def test_the_curve_over_the_threshold_ends_at_the_score(runs: Path) -> None:
    run = gather([runs / "hourglass_mpii_demo" / "seed1"]).runs[0]
    curve = people._curve(people.read(run), MPII.scored)
    scored = run.scores["val"]["measures"]["pckh@0.5"]["mean_unweighted_14"]["value"]
    assert curve[-1] == pytest.approx(scored)
    assert curve == sorted(curve)


def test_a_close_up_holds_every_labelled_joint() -> None:
    joints = np.full((16, 2), np.nan)
    joints[:3] = [[100, 80], [130, 160], [90, 120]]
    close, corner = people._close_up(np.zeros((256, 256, 3), np.uint8), joints)
    moved = joints[:3] - corner
    assert (moved >= 0).all()
    assert (moved < np.array(close.shape[1::-1])).all()
    assert close.shape[0] < 256


def test_epochs_and_samples_are_those_behind_a_row(runs: Path) -> None:
    rows = _rows(gather([runs / "hourglass_mpii_demo" / "seed1"]).runs[0])
    assert rows["samples"] == [100, 200, 300]
    assert rows["epochs"] == [1, 2, 3]
    assert rows["values"]["train/loss"] == [3, 1.5, 1]
    assert rows["values"]["val/loss"] == [2, 1, 2 / 3]


def test_one_run_keeps_its_interval_and_several_span_theirs() -> None:
    assert over_seeds([{"value": 2.0, "low": 1.0, "high": 3.0}]) == {"value": 2.0, "low": 1.0, "high": 3.0}
    assert over_seeds([{"value": 2.0}, {"value": 4.0}, None]) == {"value": 3.0, "low": 2.0, "high": 4.0}
    assert over_seeds([{"value": None}])["value"] is None


def test_run_text_stays_text(runs: Path, tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "x" / "y"
    shutil.copytree(runs / "hourglass_mpii_demo" / "faster", folder)
    config = (folder / "config.yaml").read_text()
    experiment = re.search(r"^experiment: .*$", config, re.MULTILINE)
    assert experiment is not None
    (folder / "config.yaml").write_text(config.replace(experiment[0], f"experiment: {HOSTILE!r}"))
    told = {"cell": HOSTILE, "seed": 1, "values": {}, "state": "failed", "error": HOSTILE, "log_end": [HOSTILE]}
    (folder / "trial.json").write_text(json.dumps(told))
    main([str(folder), "--without-network"])
    text = (folder / "report.html").read_text()
    assert HOSTILE not in text
    assert "&lt;img src=x onerror" in text


def test_what_is_missing_is_said(runs: Path, tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "hourglass" / "y"
    shutil.copytree(runs / "hourglass_mpii_demo" / "faster", folder)
    for name in ("metrics.json", "predictions.h5", "samples.h5"):
        (folder / name).unlink()
    main([str(folder)])
    text = (folder / "report.html").read_text()
    assert "No run here has been scored" in text
    assert "No pictures: y has not been scored" in text or "has not been scored" in text
    assert "has no checkpoint any more" in text


def test_paths_and_an_experiment_exclude_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    for args in ([], ["runs", "--experiment", "x"]):
        with pytest.raises(SystemExit) as stop:
            main(args)
        assert stop.value.code == 2
        assert "say what to report" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["report.html", "report.html.partial"])
def test_a_report_is_not_written_through_a_link(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    run = Path(shutil.copytree(runs / "hourglass_mpii_demo" / "faster", tmp_path / "run"))
    (run / name).symlink_to(tmp_path / "outside")
    with pytest.raises(SystemExit) as stop:
        main([str(run), "--without-network"])
    assert stop.value.code == 2
    assert f"{name} is a link" in capsys.readouterr().err
    assert not (tmp_path / "outside").exists()
