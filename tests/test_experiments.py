"""Every experiment is complete: it parses, its full network has the stated size, and its demo layer trains."""

from pathlib import Path

import pytest
import torch
import yaml

from pose_lightning import cli
from pose_lightning.store import Store

ROOT = Path(__file__).resolve().parents[1]
EXPERIMENTS = sorted((ROOT / "experiments").glob("*.yaml"))
LAYERS = sorted((ROOT / "experiments" / "demo").glob("*.yaml"))

PARAMETERS = {  # that learn
    "activity_images": 3_399_190,
    "activity_inception_resnet_v2": 56_272_564,
    "activity_multilabel": 117_596_199,
    "activity_resnet50": 9_882_644,
    "activity_strong": 27_835_508,
    "activity_vgg16": 15_103_892,
    "activity_vgg19": 19_380_756,
    "activity_xception": 8_846_868,
    "hourglass_mpii": 25_434_112,  # 25.434 M: Newell's network at 8 stacks
    "hourglass_mpii_adam": 25_434_112,
    "hourglass_lsp": 866_384,
    "regression_conv_lstm": 77_455_233,  # 77.45 M of them the LSTM's: report 001
    "regression_conv_rnn": 41_209_715,
    "regression_resnet18": 13_682_803,
    "regression_temporal": 29_738_355,
    "regression_vgg16": 43_969_139,
    "regression_vgg_lstm": 20_072_947,  # about 20.08 M: report 000
    "regression_vgg_lstm_adam": 20_072_947,
    "simplebaseline_lsp": 3_747_408,
    "simplebaseline_mpii": 33_999_440,  # 34.0 M: Xiao et al., table 2
    "vitpose_mpii": 89_998_096,  # 90 M: the authors' page
}

STORES = {"activity": "demo_activity_stores", "regression": "demo_clip_stores"}
"""By the first word of an experiment's name; all others are of poses."""


def test_there_are_experiments() -> None:
    assert {path.stem for path in EXPERIMENTS} == set(PARAMETERS)


def test_every_experiment_has_a_demo_layer_that_says_demo() -> None:
    assert [path.stem for path in LAYERS] == [path.stem for path in EXPERIMENTS]
    for path in LAYERS:
        layer = yaml.safe_load(path.read_text())
        assert layer["experiment"] == f"{path.stem}_demo"
        assert "demo" in layer["tags"]


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_the_full_network_has_the_stated_size(path: Path) -> None:
    with torch.device("meta"):
        built = cli.build([f"--config={path}"])
    trained = sum(parameter.numel() for parameter in built.model.parameters() if parameter.requires_grad)
    assert trained == PARAMETERS[path.stem]


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_the_first_lines_say_how_to_run_it_and_where_it_is_from(path: Path) -> None:
    comments = [line for line in path.read_text().splitlines() if line.startswith("#")]
    assert any(f"make fit EXP={path.stem}" in line for line in comments)
    assert any(line.startswith("# Source:") for line in comments)


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_the_demo_layer_trains_one_batch(path: Path, request: pytest.FixtureRequest) -> None:
    layer = ROOT / "experiments" / "demo" / path.name
    settings: dict[str, object] = {}
    for file in (path, layer):
        settings |= yaml.safe_load(file.read_text())["model"]["init_args"]
    kind = path.stem.split("_")[0]
    stores: Path = request.getfixturevalue(STORES.get(kind, "demo_stores"))
    if kind == "activity":  # fewer people are drawn for the tests, and they do less
        with Store(stores / "train.h5") as store:
            lists = {"category": "categories", "tags": "tags"}
            number = len(store.attrs[lists[yaml.safe_load(path.read_text())["data"]["init_args"]["target"]]])
    built = cli.build(
        [
            f"--config={path}",
            f"--config={layer}",
            f"--data.root={stores}",
            "--trainer.fast_dev_run=true",
            *([f"--model.num_classes={number}"] if kind == "activity" else []),
            # one batch is shorter than a warm-up
            *(["--model.schedule_total=10000"] if settings.get("schedule") in ("cosine", "one_cycle") else []),
        ]
    )
    assert built.config.experiment == f"{path.stem}_demo"
    before = [parameter.detach().clone() for parameter in built.model.parameters()]
    built.trainer.fit(built.model, datamodule=built.datamodule)
    after = list(built.model.parameters())
    assert built.trainer.global_step == 1
    assert any(not torch.equal(old, new) for old, new in zip(before, after, strict=True))
    assert all(torch.isfinite(parameter).all() for parameter in after)
