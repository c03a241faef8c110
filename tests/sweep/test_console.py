"""What a sweep shows."""

import io

from rich.console import Console

from pose_lightning.sweep.console import Row, Screen, View, clock, summary

VIEW = View(
    rows=[Row("gpu 0", "adam-batch_size=8 seed 1", 75.0, 41.25), Row("gpu 1", "", None, None)],
    counts={"complete": 3, "failed": 1, "running": 1, "waiting": 7},
    best="adam-batch_size=16 seed 1 43.2",
    left=3725.0,
)


def test_plain_lines_where_there_is_no_terminal() -> None:
    stream = io.StringIO()
    with Screen("hourglass_optim", "val/pckh", stream) as screen:
        screen.show(VIEW)
        screen.say("adam seed 1: [complete] " + "x" * 100)
        screen.show(VIEW)
    assert stream.getvalue() == "adam seed 1: [complete] " + "x" * 100 + "\n"


def test_a_table_in_a_terminal() -> None:
    stream = io.StringIO()
    screen = Screen("hourglass_optim", "val/pckh", stream)
    screen.console = Console(file=stream, force_terminal=True, width=80, highlight=False)
    with screen:
        screen.show(VIEW)
        screen.say("a line")
    shown = stream.getvalue()
    for part in ("hourglass_optim", "val/pckh", "gpu 1", "adam-batch_size=8 seed 1", "1:15", "41.25", "a line"):
        assert part in shown
    assert "\x1b[?25h" in shown, "the cursor is back"


def test_the_summary_says_what_is_left() -> None:
    assert summary(VIEW) == (
        "4 of 12 trials done; 1 failed; 1 running; 7 waiting; best so far adam-batch_size=16 seed 1 43.2; "
        "about 1:02:05 left"
    )
    assert clock(59.6) == "1:00"
