"""The whole door: what is on the page, and that a browser shows it without an error or a request."""

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pose_lightning.browse import page
from pose_lightning.browse.__main__ import main
from pose_lightning.browse.overview import Chart, principal
from pose_lightning.browse.splits import Splits
from pose_lightning.errors import UserError
from pose_lightning.store import Store

ROOT = Path(__file__).resolve().parents[2]
HOSTILE = "</script><script>document.title='stolen'</script><img src=x onerror=alert(1)>&amp;"

Read = Callable[[Path], dict[str, Any]]


@pytest.fixture(params=["demo_stores", "demo_clip_stores", "demo_activity_stores"])
def stores(request: pytest.FixtureRequest) -> Path:
    return request.getfixturevalue(request.param)


def test_the_page_has_every_sample_of_a_small_store(stores: Path, tmp_path: Path, page_data: Read) -> None:
    out = tmp_path / "sheet.html"
    main([str(stores), "--out", str(out)])
    data = page_data(out)
    with Splits.open([stores]) as splits:
        assert sorted(sample["name"] for sample in data["samples"]) == sorted(splits.labels["name"].tolist())
        assert data["splits"] == [store.path.stem for store in splits.stores]
    assert all(sample["image"].startswith("data:image/jpeg;base64,/9j/") for sample in data["samples"])
    text = out.read_text()
    assert "SYNTHETIC" in text
    assert "<caption>" in text


def test_the_page_asks_for_nothing_outside(demo_stores: Path, tmp_path: Path) -> None:
    out = tmp_path / "sheet.html"
    main([str(demo_stores / "val.h5"), "--out", str(out)])
    text = out.read_text()
    assert "default-src 'none'" in text
    assert re.findall(r'(?:src|href)="(?!#|data:)[^"]+', text) == []
    assert set(re.findall(r"https?://[^\"' ]+", text)) <= {"http://www.w3.org/2000/svg"}


def test_a_limit_keeps_the_suspicious_and_as_many_as_it_says(
    demo_stores: Path, rewrite: Callable[..., Path], tmp_path: Path, page_data: Read
) -> None:
    def change(index: int, labels: dict[str, Any]) -> dict[str, Any]:
        return labels | ({"box": np.float64(9)} if index == 17 else {})

    store, out = rewrite(demo_stores / "train.h5", tmp_path / "train.h5", change), tmp_path / "sheet.html"
    main([str(store), "--out", str(out), "--limit", "4", "--scan", "0"])
    samples = page_data(out)["samples"]
    assert len(samples) == 4
    with Store(store) as opened:
        assert samples[0]["name"] == opened.name(17)
    assert samples[0]["why"] == [["tiny", "the person's box is 9 px wide"]]


def test_the_same_seed_shows_the_same_samples(demo_stores: Path, tmp_path: Path) -> None:
    pages = [tmp_path / name for name in ("one.html", "other.html", "third.html")]
    for out, seed in zip(pages, ("1", "1", "2"), strict=True):
        main([str(demo_stores / "train.h5"), "--out", str(out), "--limit", "6", "--scan", "0", "--seed", seed])
    assert pages[0].read_bytes() == pages[1].read_bytes()
    assert pages[0].read_bytes() != pages[2].read_bytes()


def test_labels_are_drawn_where_they_are(demo_stores: Path, tmp_path: Path, page_data: Read) -> None:
    out = tmp_path / "sheet.html"
    main([str(demo_stores / "val.h5"), "--out", str(out), "--scan", "0"])
    sample = page_data(out)["samples"][0]
    with Store(demo_stores / "val.h5") as store:
        index = int(np.flatnonzero(store.labels["name"] == sample["name"])[0])
        joints, crop = store.labels["joints"][index], store.labels["crop"][index]
    ankle, head = (np.array(sample["points"][0][joint]) for joint in (0, 9))
    wanted = np.linalg.norm(joints[0] - joints[9]) * crop[2]  # px of the crop, of which the page shows the middle
    factor = np.linalg.norm(ankle - head) / wanted
    middle = (joints - crop[:2] + 0.5) * crop[2] - store.attrs["crop_size"] / 2
    np.testing.assert_allclose(ankle + 0.5, middle[0] * factor + sample["width"] / 2, atol=0.7)


def test_labels_alone_are_shown_too(
    demo_stores: Path, tmp_path: Path, page_data: Read, rewrite: Callable[..., Path]
) -> None:
    from pose_lightning.store import StoreWriter  # noqa: PLC0415 - the only test that writes

    with Store(demo_stores / "val.h5") as store, StoreWriter(tmp_path / "val.h5", codec=None, attrs=store.attrs) as out:
        for index in range(len(store)):
            labels = {key: column[index] for key, column in store.labels.items()}
            labels = {key: str(value) if isinstance(value, np.str_) else value for key, value in labels.items()}
            out.append(None, labels)
    main([str(tmp_path / "val.h5"), "--out", str(tmp_path / "sheet.html")])
    data = page_data(tmp_path / "sheet.html")
    assert all(any(sample["points"][0]) for sample in data["samples"])
    assert "without pictures" in data["total"]


@pytest.mark.parametrize(
    ("experiment", "fixture"),
    [
        ("hourglass_mpii", "demo_stores"),
        ("regression_resnet18", "demo_clip_stores"),
        ("activity_xception", "demo_activity_stores"),
    ],
)
def test_augmented_versions_are_what_the_loader_brings(
    experiment: str, fixture: str, request: pytest.FixtureRequest, tmp_path: Path, page_data: Read
) -> None:
    stores, out = request.getfixturevalue(fixture), tmp_path / "sheet.html"
    with Store(stores / "train.h5") as store:
        name = store.name(3)
    size = [f"--set=--{part}.input_size=64" for part in ("data", "model")[: 1 if fixture == "demo_stores" else 2]]
    layers = [f"--experiment={ROOT}/experiments/{experiment}.yaml"]
    layers += [f"--experiment={ROOT}/experiments/demo/{experiment}.yaml"]
    main([str(stores), "--out", str(out), "--limit", "5", "--scan", "0", "--sample", name, *layers, *size])
    data = page_data(out)
    assert data["samples"][0]["name"] == name
    assert [version["note"].split(":")[0] for version in data["versions"]][:3] == ["as it is", "epoch 0", "epoch 1"]
    assert len({version["image"] for version in data["versions"]}) > 3
    assert {(version["width"], version["height"]) for version in data["versions"]} == {(64, 64)}


def test_text_of_a_store_stays_text() -> None:
    chart = Chart(HOSTILE, ("train",), (HOSTILE,), np.ones((1, 1)), "", HOSTILE)
    text = page.render(HOSTILE, facts=[HOSTILE], warning=HOSTILE, charts=[chart], data={"name": HOSTILE})
    assert HOSTILE not in text
    assert "<img src=x" not in text
    assert len(re.findall("<script", text)) == 2


@pytest.mark.parametrize(("unit", "widths"), [("", [100, 50, 25, 100]), ("%", [80, 1, 20, 2])], ids=["count", "share"])
def test_bars_are_by_the_most_of_their_own_split(unit: str, widths: list[float]) -> None:
    chart = Chart("x", ("train", "val"), ("a", "b"), np.array([[80.0, 1.0], [20.0, 2.0]]), unit)
    text = page.render("x", facts=[], warning="", charts=[chart], data={})
    assert [float(width) for width in re.findall(r'<i style="width:([0-9.]+)%"></i>', text)] == widths


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{stores}/nosuch.h5"], r"no store at .*nosuch\.h5"),
        (["{stores}/empty"], "holds no store"),
        (["{stores}/train.h5", "{clips}/train.h5"], "kind is 'clips', but that of .* is 'pose'"),
        (["{stores}", "--sample", "nobody"], "no sample has this name; names are such as '"),
        (["{stores}", "--experiment", "nosuch.yaml"], r"nosuch\.yaml is no file"),
        (["{stores}", "--limit", "0"], "--limit 0"),
    ],
    ids=["missing", "empty", "kinds", "sample", "experiment", "limit"],
)
def test_a_mistake_is_one_message(
    arguments: list[str],
    message: str,
    demo_stores: Path,
    demo_clip_stores: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "empty").mkdir()
    places = {"stores": demo_stores, "clips": demo_clip_stores}
    filled = [
        argument.format(**places).replace(f"{demo_stores}/empty", str(tmp_path / "empty")) for argument in arguments
    ]
    with pytest.raises(SystemExit, match="2"):
        main([*filled, "--scan", "0", "--out", str(tmp_path / "sheet.html")])
    assert re.search(message, capsys.readouterr().err)
    assert not (tmp_path / "sheet.html").exists()


def test_two_stores_of_one_split_are_told_apart_by_their_files(demo_stores: Path, tmp_path: Path) -> None:
    copied = shutil.copy(demo_stores / "val.h5", tmp_path / "other.h5")
    with Splits.open([demo_stores / "val.h5", Path(copied)]) as splits:
        assert splits.names == [str(demo_stores / "val.h5"), str(copied)]
        with pytest.raises(UserError, match="2 samples have this name"):
            splits.find(str(splits.labels["name"][0]))


def test_principal_components_find_a_line_in_space() -> None:
    along = np.linspace(-1, 1, 50)
    places = principal(along[:, None] * np.array([[3.0, 0.0, 4.0]]), "a line")
    assert places is not None
    np.testing.assert_allclose(places.places[:, 0], 5 * along, atol=1e-9)
    assert places.explained[0] == pytest.approx(1)


def test_samples_without_features_have_no_place() -> None:
    features = np.random.default_rng(0).normal(size=(9, 4))
    features[4, 2] = np.nan
    places = principal(features, "")
    assert places is not None
    assert np.flatnonzero(np.isnan(places.places).any(axis=1)).tolist() == [4]
    assert principal(features[:2], "") is None


@pytest.mark.slow
def test_a_browser_shows_the_page(
    demo_stores: Path, rewrite: Callable[..., Path], tmp_path: Path, page_data: Read
) -> None:
    """Chromium draws the cards, without an error; a hostile name stays text."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("no Chromium here: `apt-get install chromium`")

    def change(index: int, labels: dict[str, Any]) -> dict[str, Any]:
        return labels | {"name": f"{index}{HOSTILE}"}

    store = rewrite(demo_stores / "val.h5", tmp_path / "val.h5", change)
    out = tmp_path / "sheet.html"
    main([str(store), "--out", str(out)])
    flags = ["--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}/profile"]
    flags += ["--enable-logging=stderr", "--virtual-time-budget=5000", "--dump-dom", "--window-size=390,900"]
    done = subprocess.run([chromium, *flags, out.as_uri()], capture_output=True, text=True, check=True, timeout=300)
    number = len(page_data(out)["samples"])
    assert len(re.findall('<article class="card', done.stdout)) == number
    assert f"{number} of {number} samples on this page" in done.stdout
    assert "CONSOLE" not in done.stderr, done.stderr
    assert "<title>stolen" not in done.stdout
