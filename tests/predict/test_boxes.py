"""Where a person is, as options and files say it."""

import json
import os
import unicodedata
from pathlib import Path

import pytest

from pose_lightning.errors import UserError
from pose_lightning.predict.boxes import Box, in_frame, name_in, numbers, read_boxes, whole
from pose_lightning.predict.inputs import Inputs
from pose_lightning.predict.pictures import Troubles, unused
from pose_lightning.predict.places import BoxesOfFile


def test_a_box_is_about_the_middle_of_its_pixels_with_a_margin() -> None:
    assert Box.around(10, 20, 4, 8, "x") == Box(11.5, 23.5, 10.0, "x", person=(4, 8))  # px 10 to 13, 20 to 27


def test_the_whole_image_is_the_person() -> None:
    assert whole(640, 480) == Box(319.5, 239.5, 800.0, "the whole image", person=(640, 480))


def test_mpiis_centre_and_scale_are_adjusted_once() -> None:
    assert Box.of_mpii(100, 200, 2.0, "x") == Box(99, 229, 500.0, "x", person=(400, 400))  # from 1


def test_csv_and_json_say_the_same(tmp_path: Path) -> None:
    (tmp_path / "boxes.csv").write_text("image,x,y,w,h\na.jpg,1,2,3,4\nb.jpg,5,6,7,8\na.jpg,0,0,10,20\n")
    (tmp_path / "boxes.json").write_text(json.dumps({"a.jpg": [[1, 2, 3, 4], [0, 0, 10, 20]], "b.jpg": [[5, 6, 7, 8]]}))
    found = [read_boxes(tmp_path / f"boxes.{kind}") for kind in ("csv", "json")]
    plain = [{name: [(b.x, b.y, b.side) for b in boxes] for name, boxes in each.items()} for each in found]
    assert plain[0] == plain[1] == {"a.jpg": [(2, 3.5, 5), (4.5, 9.5, 25)], "b.jpg": [(8, 9.5, 10)]}
    assert found[0]["a.jpg"][1].source == "boxes.csv, line 4"


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "image,x,y,w\na,1,2,3\n", "has no column h"),
        ("a.csv", "image,x,y,w,h\na,1,2,3\n", "a.csv, line 2: wanted x,y,w,h"),
        ("a.csv", "image,x,y,w,h\na,1,2,3,nan\n", "a.csv, line 2: wanted x,y,w,h"),
        ("a.csv", "image,x,y,w,h\na,1,2,0,4\n", "a.csv, line 2: w must be above 0"),
        ("a.json", "{", "cannot be read"),
        ("a.json", "[[1, 2, 3, 4]]", "wanted {"),
        ("a.json", '{"a": [1, 2, 3, 4]}', "a: wanted {"),
        ("a.json", '{"a": [[1, 2, 3]]}', "box 1: wanted x,y,w,h"),
        ("a.JSON", '{"a": [[1, 2, 3, 1%s]]}' % ("0" * 400), "box 1: wanted x,y,w,h"),
        (
            "a.csv",
            "image,x,y,w,h\na,1,2,3,4\nb,1,5,2,5,3,5,4,5\n",
            "line 3 has more fields than the 5 columns",
        ),
        ("a.csv", "image,x,y,w,h\na,b.jpg,1,2,3,4\n", "line 2 has more fields .* stands in quotes"),
        ("a.csv", "image,x,y,w,h,x\na,1,2,3,4,5\n", "has two columns x; remove one"),
        ("a.json", '{"a": [[1, 2, 3, 4]], "b": [], "a": []}', "a stands twice; put all its boxes into one list"),
        ("a.json", '{"a": {"0": [], "0": [[1, 2, 3, 4]]}}', "0 stands twice"),
        ("absent.csv", None, "there is no such file"),
    ],
    ids=[
        *("column", "short", "nan", "zero", "no json", "list", "flat", "three", "huge"),
        *("commas", "name", "columns", "twice", "frame twice", "absent"),
    ],
)
def test_files_that_say_something_else_are_refused(name: str, text: str | None, message: str, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=message):
        read_boxes(tmp_path / name)


def test_an_image_is_found_by_its_path_or_its_name() -> None:
    boxes = {name: (Box(0, 0, 1, ""),) for name in ("x/a.jpg", "a.jpg")}
    assert name_in(boxes, Path("x/a.jpg"), Path("f")) == "x/a.jpg"
    assert name_in(boxes, Path("y/a.jpg"), Path("f")) == "a.jpg"
    with pytest.raises(UserError, match=r"f has no box for b\.jpg"):
        name_in(boxes, Path("b.jpg"), Path("f"))


COMPOSED, DECOMPOSED = (unicodedata.normalize(form, "Tür.jpg") for form in ("NFC", "NFD"))


@pytest.mark.parametrize("place", [".", "x"])
@pytest.mark.parametrize(("listed", "given"), [(COMPOSED, DECOMPOSED), (DECOMPOSED, COMPOSED)], ids=["NFD", "NFC"])
def test_a_name_is_found_however_its_accents_are_spelled(
    listed: str, given: str, place: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """macOS gives names decomposed; keyboards type them composed."""
    (tmp_path / "a.csv").write_text(f"image,x,y,w,h\n{listed},1,2,3,4\n", encoding="utf-8")
    path = Path(place) / given
    assert [box.side for box in BoxesOfFile(tmp_path / "a.csv", Inputs([path])).of_picture(path, 9, 9)] == [5]
    assert capsys.readouterr().out == ""


def test_an_image_that_has_one_name_in_two_spellings_is_itself_or_refused(tmp_path: Path) -> None:
    both = {name: (Box(0, 0, 1, ""),) for name in (COMPOSED, DECOMPOSED)}
    assert [name_in(both, Path(name), Path("f")) for name in both] == list(both)
    mixed = Path(f"{COMPOSED[:2]}{DECOMPOSED[:-4]}.jpg")
    twice = {mixed.name.replace("ü", "u\u0308", 1): (), mixed.name.replace("u\u0308", "ü", 1): ()}
    with pytest.raises(UserError, match="in two spellings of its accents"):
        name_in(twice, mixed, Path("f"))
    (tmp_path / "a.csv").write_text(f"image,x,y,w,h\n{COMPOSED},1,2,3,4\n", encoding="utf-8")
    with pytest.raises(UserError, match="could be"):
        BoxesOfFile(tmp_path / "a.csv", Inputs([Path(COMPOSED), Path(DECOMPOSED)]))


def test_empty_fields_at_the_end_are_nothing(tmp_path: Path) -> None:
    """As spreadsheets write them."""
    (tmp_path / "a.csv").write_text("image,x,y,w,h,,\na.jpg,1,2,3,4,,,\n")
    assert [box.side for box in read_boxes(tmp_path / "a.csv")["a.jpg"]] == [5]


@pytest.mark.parametrize(("text", "message"), [("1,2,3", "wanted x,y,w,h"), ("1,2,3,-4", "h must be above 0")])
def test_options_that_are_no_box_are_refused(text: str, message: str) -> None:
    with pytest.raises(UserError, match=rf"--box {text}: {message}"):
        numbers(text, "--box", "x,y,w,h")


@pytest.mark.parametrize(
    ("box", "message"),
    [
        (Box(-51, 20, 100, "--box"), "is outside"),
        (Box(20, 131, 100, "--box"), "is outside"),
        (Box(5, 5, 9e3, ""), "too large"),
    ],
    ids=["left", "below", "large"],
)
def test_a_box_that_shows_nothing_of_the_image_is_refused(box: Box, message: str) -> None:
    Box(-49, 129, 100, "--box").check(100, 80, Path("a.jpg"))
    with pytest.raises(UserError, match=message):
        box.check(100, 80, Path("a.jpg"))


def test_boxes_of_single_frames_are_of_these_alone(tmp_path: Path) -> None:
    (tmp_path / "boxes.csv").write_text("image,frame,x,y,w,h\na.mp4,0,1,2,3,4\na.mp4,,0,0,10,20\na.mp4,7,5,6,7,8\n")
    listed = {"a.mp4": {"0": [[1, 2, 3, 4]], "7": [[5, 6, 7, 8]]}, "b.mp4": [[0, 0, 10, 20]]}
    (tmp_path / "boxes.json").write_text(json.dumps(listed))
    table, tree = (read_boxes(tmp_path / f"boxes.{kind}") for kind in ("csv", "json"))
    assert [[box.side for box in in_frame(table["a.mp4"], number)] for number in (0, 1, 7)] == [[5, 25], [25], [25, 10]]
    assert [[box.side for box in in_frame(tree["a.mp4"], number)] for number in (0, 1, 7)] == [[5], [], [10]]
    assert [box.side for box in in_frame(tree["b.mp4"], 3)] == [25]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", "image,frame,x,y,w,h\na,-1,1,2,3,4\n"),
        ("a.json", '{"a": {"1.5": [[1, 2, 3, 4]]}}'),
        ("a.json", '{"a": {"%s": [[1, 2, 3, 4]]}}' % ("9" * 5000)),
    ],
    ids=["csv", "json", "huge"],
)
def test_frames_that_are_no_numbers_are_refused(name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match="is no whole number from 0"):
        read_boxes(tmp_path / name)


def test_a_spreadsheets_mark_and_nobody_are_understood(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("image,x,y,w,h\na.jpg,1,2,3,4\n", encoding="utf-8-sig")
    assert [box.side for box in read_boxes(tmp_path / "a.csv")["a.jpg"]] == [5]
    (tmp_path / "a.json").write_text('{"a.jpg": []}')
    assert read_boxes(tmp_path / "a.json") == {"a.jpg": ()}


def test_a_pipe_of_boxes_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.csv")
    with pytest.raises(UserError, match=r"a\.csv is a named pipe"):
        read_boxes(tmp_path / "a.csv")


def test_a_name_that_fits_two_inputs_is_refused_and_one_that_fits_none_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.csv").write_text("image,x,y,w,h\na.jpg,1,2,3,4\nabsent.jpg,1,2,3,4\n")
    found = BoxesOfFile(tmp_path / "a.csv", Inputs([Path("x/a.jpg"), Path("x/a.jpg")]))
    assert len(found.of_picture(Path("x/a.jpg"), 9, 9)) == 1
    assert "no input is called absent.jpg" in capsys.readouterr().out
    with pytest.raises(UserError, match=r"a\.jpg could be x/a\.jpg or y/a\.jpg"):
        BoxesOfFile(tmp_path / "a.csv", Inputs([Path("x/a.jpg"), Path("y/a.jpg")]))


def test_boxes_of_frames_that_a_film_does_not_have_are_named() -> None:
    boxes = [Box(0, 0, 9, f"a.csv, line {line}", frame) for line, frame in ((2, None), (3, 22), (4, 23))]
    troubles = Troubles(Inputs())
    unused(boxes, 23, Path("walk.mp4"), troubles)
    reason = "walk.mp4 has frames 0 to 22, and the box of a.csv, line 4 is of 23"
    assert troubles.to_json() == [{"file": "walk.mp4", "reason": reason}]
