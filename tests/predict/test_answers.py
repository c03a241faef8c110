"""What is said of a network, whatever runs it."""

import pytest

from pose_lightning.predict.answers import marked, say_data


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
