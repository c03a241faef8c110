"""Command lines as a sweep's agent writes them."""

import pytest

from pose_lightning.arguments import arrange, names
from pose_lightning.errors import UserError


def test_yamls_come_first_in_their_own_order() -> None:
    given = ["--a=1", "--config", "x.yaml", "--b", "2", "--config=y.yaml"]
    assert arrange(given) == ["--config", "x.yaml", "--config=y.yaml", "--a=1", "--b", "2"]
    assert arrange(["--a=1", "--config"]) == ["--config", "--a=1"]  # the parser says what is missing


def test_nested_parameters_become_flags_but_classes_stay_together() -> None:
    nested = {"lr": 1e-05, "freeze": {"mode": "all", "n": 7}}
    assert arrange([f"--model={nested}"]) == ["--model.lr=1e-05", "--model.freeze.mode=all", "--model.freeze.n=7"]
    kept = ["--model={'class_path': 'A', 'init_args': {'n': 1}}", "--model.freeze={'mode': 'all', 'n': 7}"]
    assert arrange(kept) == kept


def test_a_mapping_that_is_none_is_refused() -> None:
    with pytest.raises(UserError, match="no YAML"):
        arrange(["--model={'lr': 1"])


def test_names_of_flags() -> None:
    assert names(["--config=x", "--trainer.max_steps=3", "--resume", "runs"]) == {
        "config",
        "trainer.max_steps",
        "resume",
    }
