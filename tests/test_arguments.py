"""Command lines as a sweep's agent writes them."""

import json
from pathlib import Path

import pytest

from pose_lightning.arguments import arrange, first_name, names
from pose_lightning.errors import UserError


def test_yamls_come_first_in_their_own_order() -> None:
    given = ["--a=1", "--config", "x.yaml", "--b", "2", "--config=y.yaml"]
    assert arrange(given) == ["--config=x.yaml", "--config=y.yaml", "--a=1", "--b", "2"]


def test_nested_parameters_become_flags_but_classes_stay_together() -> None:
    nested = {"lr": 1e-05, "freeze": {"mode": "all", "n": 7}}
    assert arrange([f"--model={nested}"]) == ["--model.lr=1e-05", "--model.freeze.mode=all", "--model.freeze.n=7"]
    kept = ["--model={'class_path': 'A', 'init_args': {'n': 1}}", "--model.freeze={'mode': 'all', 'n': 7}"]
    assert arrange(kept) == kept


def test_a_class_comes_before_its_settings_under_its_full_name() -> None:
    vit = "--model.network=pose_lightning.heatmap.vit.VitPose"
    flags = ["--model.lr=1", "--model.network.decoder=simple"]
    assert arrange([*flags, "--model.network=vit"]) == [vit, *flags]
    assert arrange([*flags, "--model.network", "vit"]) == [vit, *flags]
    assert arrange(["--model.network=mine.Net", *flags]) == ["--model.network=mine.Net", *flags]
    nested = {"network": "vit", "lr": 1}
    assert arrange([f"--model={nested}"]) == [vit, "--model.lr=1"]
    spec = {"class_path": "vit", "init_args": {"decoder": "simple"}}
    (word,) = arrange([f"--model.network={spec}"])
    assert json.loads(word.partition("=")[2]) == {**spec, "class_path": vit.partition("=")[2]}


def test_a_layer_may_have_short_names_and_others_stay_files(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(
        "model:\n  init_args:\n    network: {class_path: vit, init_args: {decoder: simple}}\n"
    )
    (tmp_path / "b.yaml").write_text("model:\n  init_args:\n    network: vit\n    lr: 2.5e-4\n")
    (tmp_path / "c.yaml").write_text("model:\n  init_args:\n    network:\n      init_args: {stacks: 2}\n")
    first, second, third = arrange([f"--config={tmp_path / name}" for name in ("a.yaml", "b.yaml", "c.yaml")])
    networks = [json.loads(word.partition("=")[2])["model"]["init_args"]["network"] for word in (first, second)]
    assert networks[0] == {"class_path": "pose_lightning.heatmap.vit.VitPose", "init_args": {"decoder": "simple"}}
    assert networks[1] == {"class_path": "pose_lightning.heatmap.vit.VitPose"}
    assert third == f"--config={tmp_path / 'c.yaml'}"
    assert first_name(["--a=1", f"--config={tmp_path / 'a.yaml'}"]) == first_name(["--config", "x/a.yaml"]) == "a"
    assert first_name(["--a=1"]) is None


def test_a_mapping_that_is_none_is_refused() -> None:
    with pytest.raises(UserError, match="no YAML"):
        arrange(["--model={'lr': 1"])


def test_names_of_flags() -> None:
    assert names(["--config=x", "--trainer.max_steps=3", "--resume", "runs"]) == {
        "config",
        "trainer.max_steps",
        "resume",
    }
