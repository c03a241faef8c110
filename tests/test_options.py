"""Refusals of the doors' command lines: one line, with the option, its value and what it takes."""

import pytest

from pose_lightning.errors import UserError
from pose_lightning.options import OptionParser


def parser() -> OptionParser:
    made = OptionParser(prog="tool")
    made.add_argument("file")
    made.add_argument("--split", choices=["train", "val", "test"])
    made.add_argument("--fold", type=int, choices=[0, 1])
    made.add_argument("--limit", type=int)
    made.add_argument("--share", type=float)
    made.add_subparsers(metavar="COMMAND").add_parser("verify").add_argument("--deep", type=int)
    return made


@pytest.mark.parametrize(
    ("words", "refusal"),
    [
        ("x --splt=val verify", "--splt=val is no option of this command; did you mean --split?; see `tool --help`"),
        ("x --split=vali verify", "--split vali is not one of train, val, test; did you mean val?; see `tool --help`"),
        ("x --fold=7 verify", "--fold 7 is not one of 0, 1; see `tool --help`"),
        ("x --limit=few verify", "--limit few is not a whole number; see `tool --help`"),
        ("x --share=half verify", "--share half is not a number; see `tool --help`"),
        ("x --limit", "--limit has no value; see `tool --help`"),
        ("", "the command has no file; see `tool --help`"),
        ("x verfy", "COMMAND verfy is not one of verify; did you mean verify?; see `tool --help`"),
        ("x verify --deep=a", "--deep a is not a whole number; see `tool file verify --help`"),
    ],
)
def test_a_refused_command_line_is_one_line(words: str, refusal: str) -> None:
    with pytest.raises(UserError) as error:
        parser().parse_args(words.split())
    assert str(error.value) == refusal
