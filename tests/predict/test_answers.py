"""What is said of a network, whatever runs it."""

import numpy as np
import pytest

from pose_lightning.errors import UserError
from pose_lightning.predict.answers import check_numbers, marked, say_data


@pytest.mark.parametrize(
    ("synthetic", "expected"),
    [(True, "SYNTHETIC (demo) clips: films"), (None, "is not known"), (False, "")],
    ids=["drawn", "unknown", "real"],
)
def test_it_is_said_what_a_network_was_trained_on(
    synthetic: bool | None, expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    say_data(synthetic, "clips", "films")
    printed = capsys.readouterr().out
    assert expected in printed
    assert bool(printed) == bool(expected)


def test_drawn_data_on_either_side_is_in_the_title() -> None:
    assert marked("a", False, None) == "a"
    assert marked("a", False, True) == marked("a", True, None) == "a (synthetic data)"


def test_what_is_no_number_is_no_answer() -> None:
    check_numbers(np.zeros((2, 3)), "best.ckpt")
    with pytest.raises(UserError, match=r"best\.ckpt gives numbers that are none"):
        check_numbers(np.array([0.0, np.nan]), "best.ckpt")
