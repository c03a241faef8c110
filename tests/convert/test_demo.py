from collections import Counter
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from scipy.io import loadmat

from pose_lightning.convert import ConvertError, demo
from pose_lightning.convert.__main__ import main
from pose_lightning.convert.drawn import scenes
from pose_lightning.convert.drawn.activities import ACTIVITIES, CATEGORIES
from pose_lightning.convert.drawn.acts import Activity
from pose_lightning.convert.drawn.canvas import Blob, Camera, Canvas, Light, Sheet, Tube, moved
from pose_lightning.convert.drawn.figures import PARTS, Body, Pose, Reach, Swing, skeleton, solids, turned
from pose_lightning.convert.drawn.scenes import Annotation, Person
from pose_lightning.joints import MPII
from pose_lightning.store import Store

SIZE = (320, 320)
MAGENTA = (255, 0, 255)
CAMERA = Camera(focal=420.0, x=159.5, y=130.0, height=1.2, pitch=0.1)
LIGHT = Light(np.array([0.0, -0.6, -0.8]), ambient=0.6, diffuse=0.4)
RIGHT_ANKLE, RIGHT_HIP, LEFT_ANKLE, NECK, HEAD_TOP = 0, 2, 5, 8, 9
RIGHT_WRIST, RIGHT_SHOULDER, LEFT_SHOULDER, LEFT_WRIST = 10, 12, 13, 15


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("demo")
    demo.write(path, people=24, seed=3)
    return path


@pytest.fixture(scope="module")
def release(target: Path) -> np.void:
    return loadmat(target / "official" / demo.ANNOTATIONS, struct_as_record=False, squeeze_me=False)["RELEASE"][0, 0]


def person(activity: Activity, yaw: float, distance: float = 5.0) -> Person:
    look = scenes.dressed("casual", np.random.default_rng(1))
    return Person(activity, (1, 2), Body(), look, (0.0, -distance), yaw, phase=0.1)


def named(name: str) -> Activity:
    return next(activity for activity in ACTIVITIES if activity.name == name)


def still(pose: Pose) -> Activity:
    """An activity that holds one pose."""
    act = named("standing quietly, standing in a line").move(0.0, np.random.default_rng(0))
    return replace(named("walking, general"), move=lambda t, rng: replace(act, pose=pose))


def picture(who: Person, *before: Blob | Sheet | Tube, things: bool = True) -> tuple[np.ndarray, Annotation]:
    """One person, alone on magenta, behind what is given."""
    canvas = Canvas(np.full((SIZE[1], SIZE[0], 3), MAGENTA, np.uint8), CAMERA, LIGHT)
    figure, held = who.skeleton(0.0)
    for part, solid in solids(figure, who.look) + [("prop", thing) for thing in held if things]:
        canvas.draw(moved(solid, *who.placing), PARTS.index(part))
    for solid in before:
        canvas.draw(solid, scenes.SCENERY)
    return canvas.image(), scenes.annotated(canvas, CAMERA, SIZE, 0, who, figure)


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_same_seed_gives_the_same_bytes(target: Path, tmp_path: Path):
    first, again = files(target / "official"), files(demo.draw(tmp_path, people=24, seed=3))
    assert first == again
    assert len(first) > 12


def test_another_seed_gives_other_images(target: Path, tmp_path: Path):
    ours, other = files(target / "official" / "images"), files(demo.draw(tmp_path, people=2, seed=4) / "images")
    assert not set(ours.values()) & set(other.values())


def test_more_people_only_add_images(target: Path, tmp_path: Path):
    many, few = files(target / "official" / "images"), files(demo.draw(tmp_path, people=5, seed=3) / "images")
    assert 0 < len(few) < len(many)
    assert few.items() <= many.items()


def test_a_run_replaces_what_a_killed_or_an_older_one_left(tmp_path: Path):
    for folder in ("official", "official.partial"):
        (tmp_path / folder / "images").mkdir(parents=True)
        (tmp_path / folder / "images" / "stray.jpg").write_bytes(b"old")
    demo.draw(tmp_path, people=1, seed=0)
    assert [path.name for path in tmp_path.iterdir()] == ["official"]
    assert not (tmp_path / "official" / "images" / "stray.jpg").exists()


def test_too_few_people_are_refused(tmp_path: Path):
    with pytest.raises(ConvertError, match="--people 0"):
        demo.draw(tmp_path, people=0, seed=0)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("people", [1, 2, 7])
def test_few_people_are_as_many_as_splits_need(tmp_path: Path, capsys: pytest.CaptureFixture[str], people: int):
    assert main(["demo", f"--target={tmp_path}", "--only=mpii", f"--people={people}"]) == 0
    assert ("7 persons are drawn, where" in capsys.readouterr().out) == (people < 7)
    for split in ("train", "val"):
        with Store(tmp_path / "mpii" / "pose" / f"{split}.h5") as store:
            assert len(store)


def test_forty_people_fill_all_splits_of_activities(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["demo", f"--target={tmp_path}", "--only=activity", "--people=40", "--seed=2"]) == 0
    assert "49 persons are drawn, where 40 are too few to hold any out" in capsys.readouterr().out
    assert sorted(path.name for path in (tmp_path / "activity").iterdir()) == ["test.h5", "train.h5", "val.h5"]
    readme = (tmp_path / "official" / "README.txt").read_text()
    assert "(49 persons, seed 2)" in readme


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--people=0"], "--people 0: wanted at least 1"),
        (["--people=5", "--only=clips"], "--people 5 has no effect with --only clips"),
        (["--seed=-1", "--only=clips"], "--seed -1: wanted 0 or more"),
    ],
)
def test_a_demo_that_cannot_be_drawn_is_refused_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], message: str
):
    assert main(["demo", f"--target={tmp_path}", *more]) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_it_says_that_it_is_drawn(target: Path):
    assert "drawn, not photographed" in (target / "official" / "README.txt").read_text()
    for split in ("train", "val"):
        attrs = Store(target / "mpii" / "pose" / f"{split}.h5").attrs
        assert attrs["synthetic"] is True
        assert attrs["dataset"] == "demo"


def test_activities_are_drawn_once_and_whole_videos_are_held_out(tmp_path: Path):
    demo.write_activities(tmp_path, people=50, seed=3)
    drawn = {path: path.stat().st_mtime_ns for path in (tmp_path / "official").rglob("*")}
    demo.write_activities(tmp_path, people=50, seed=3)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "official").rglob("*")} == drawn
    demo.write_activities(tmp_path, people=50, seed=3, folds=3)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "official").rglob("*")} == drawn
    assert sorted(path.name for path in (tmp_path / "folds" / "activity").iterdir()) == ["test.h5", "train.h5"]
    with Store(tmp_path / "folds" / "activity" / "train.h5") as store:
        assert (store.attrs["folds"], set(store.labels["fold"].tolist())) == (3, {0, 1, 2})
    videos, names = {}, []
    for split in ("train", "val", "test"):
        with Store(tmp_path / "activity" / f"{split}.h5") as store:
            assert (store.attrs["dataset"], store.attrs["synthetic"]) == ("demo", True)
            assert store.attrs["categories"] == sorted(CATEGORIES)
            names += store.labels["name"].tolist()
            videos[split] = {name[:6] for name in store.labels["name"]}  # a file's name begins with its video
            assert len(set(store.labels["group"].tolist())) == len(videos[split])
            assert min(store.pixels(0).shape[:2]) == 320
            kinds = {activity.name: activity.category for activity in ACTIVITIES}
            expected = [kinds[name] for name in store.labels["activity"]]
            assert store.labels["category"].tolist() == expected
    assert not videos["train"] & videos["val"]
    assert not videos["test"] & (videos["train"] | videos["val"])
    labelled = [frame.name for frame in demo.planned(50, 3) if frame.video.labels == "all"]
    assert sorted(names) == sorted(labelled)


def test_every_category_is_drawn_in_several_videos():
    shown = {frame.video.number: frame.video for frame in demo.planned(demo.ACTIVITY_PEOPLE, 0)}
    counts = Counter(video.activity.category for video in shown.values() if video.labels == "all")
    assert set(counts) == set(CATEGORIES)
    assert min(counts.values()) >= 3


def test_release_has_the_official_fields(target: Path, release: np.void):
    count = len(list((target / "official" / "images").iterdir()))
    assert release.annolist.shape == release.img_train.shape == (1, count)
    assert release.act.shape == release.single_person.shape == (count, 1)
    image = release.annolist[0, 0]
    assert (target / "official" / "images" / image.image[0, 0].name[0]).is_file()
    assert release.video_list.shape == (1, int(release.annolist[0, -1].vididx[0, 0]))
    assert image.frame_sec[0, 0] == int(image.image[0, 0].name[0][6:9])
    annorect = image.annorect[0, 0]
    assert {"x1", "y1", "x2", "y2", "scale", "objpos", "annopoints"} <= set(annorect._fieldnames)
    point = annorect.annopoints[0, 0].point[0, 0]
    assert {"x", "y", "id", "is_visible"} == set(point._fieldnames)
    act = release.act[0, 0]
    assert act.cat_name[0] in CATEGORIES
    assert act.act_name[0] == ACTIVITIES[int(act.act_id[0, 0]) - 1].name


def test_the_header_has_no_date(target: Path):
    header = (target / "official" / demo.ANNOTATIONS).read_bytes()[:116]
    assert header.rstrip() == b"MATLAB 5.0 MAT-file, drawn people in the form of MPII Human Pose"


def test_test_images_have_neither_joints_nor_activity(tmp_path: Path):
    video = next(video for video in scenes.videos(0) if video.labels == "none")
    frame = demo.Frame(video, 0, "000000001.jpg")
    demo.write_annotations(tmp_path / "demo.mat", [frame], [scenes.drawn(video, 0)[1]])
    release = loadmat(tmp_path / "demo.mat", struct_as_record=False, squeeze_me=False)["RELEASE"][0, 0]
    annorect = release.annolist[0, 0].annorect[0, 0]
    assert release.img_train[0, 0] == 0
    assert annorect.annopoints.size == annorect.x1.size == 0
    assert annorect.scale[0, 0] > 0
    assert release.act[0, 0].act_id[0, 0] == -1
    assert release.act[0, 0].act_name.size == 0


def test_joints_in_the_stores_are_the_drawn_ones(target: Path):
    drawn = {
        f"{frame.name}#{number}": annotation
        for frame in demo.planned(24, 3)
        for number, annotation in enumerate(scenes.drawn(frame.video, frame.index)[1])
        if frame.has_joints and annotation.shown
    }
    stores = [Store(target / "mpii" / "pose" / f"{split}.h5") for split in ("train", "val")]
    assert sum(map(len, stores)) == len(drawn) >= 24
    for store in stores:
        for index, name in enumerate(store.labels["name"]):
            annotation = drawn[name]
            expected = np.where(annotation.labelled[:, None], annotation.joints, np.nan)
            np.testing.assert_allclose(store.labels["joints"][index], expected, rtol=0, atol=1e-6)
            np.testing.assert_array_equal(store.labels["visible"][index], annotation.visible)
            assert store.labels["box"][index] == pytest.approx(200 * 1.25 * annotation.scale)
            x0, y0, x1, y1 = annotation.head_box
            assert store.labels["head_size"][index] == pytest.approx(0.6 * np.hypot(x1 - x0, y1 - y0))


def test_no_video_is_in_both_splits(target: Path):
    train, val = (Store(target / "mpii" / "pose" / f"{split}.h5").labels["image"] for split in ("train", "val"))
    assert not {name[:6] for name in train} & {name[:6] for name in val}


@pytest.mark.parametrize("activity", ACTIVITIES, ids=lambda activity: activity.name)
def test_every_joint_is_inside_the_drawn_figure(activity: Activity):
    image, annotation = picture(person(activity, activity.views[0], distance=7.0), things=False)
    figure, _ = person(activity, 0.0).skeleton(0.0)
    above_ground = figure.joints[:, 1] > 0.02
    chosen = annotation.labelled & above_ground
    assert chosen.sum() >= 6
    columns, rows = annotation.joints[chosen].round().astype(int).T
    assert (image[rows, columns] != MAGENTA).any(axis=1).all()


def test_the_head_box_holds_neck_and_head_top():
    for video in islice(scenes.videos(1), 10):
        for annotation in scenes.drawn(video, 0)[1]:
            x0, y0, x1, y1 = annotation.head_box
            for x, y in annotation.joints[[NECK, HEAD_TOP]]:
                assert x0 < x < x1
                assert y0 < y < y1


def test_head_size_and_scale_agree_as_in_mpii():
    # MPII: 0.6 x head box diagonal = 25 x scale (all 2,958 validation persons); heads tilt here, so only about
    ratios = [
        0.6 * np.hypot(*(annotation.head_box[2:] - annotation.head_box[:2])) / (25 * annotation.scale)
        for activity in ACTIVITIES[::6]
        for annotation in [picture(person(activity, 0.0))[1]]
    ]
    assert np.median(ratios) == pytest.approx(1.0, abs=0.12)


def test_the_adjusted_box_holds_a_standing_person():
    _, annotation = picture(person(still(Pose()), 0.0))
    center, side = annotation.center + np.array([0, 15 * annotation.scale]), 200 * 1.25 * annotation.scale
    assert (np.abs(annotation.joints - center) < side / 2).all()


def test_left_is_on_the_right_of_a_front_view_and_on_the_left_of_a_back_view():
    front, back = (picture(person(still(Pose()), yaw))[1].joints for yaw in (0.0, 180.0))
    for right, left in MPII.pairs:
        assert front[left, 0] > front[right, 0]
        assert back[left, 0] < back[right, 0]


def test_in_profile_the_far_arm_is_hidden_by_the_body():
    arms = Swing(forward=0.0, out=4.0, bend=0.0)
    who = person(still(Pose(left_arm=arms, right_arm=arms)), yaw=-90.0)  # faces left: its left side is near
    _, annotation = picture(who)
    assert annotation.visible[[LEFT_SHOULDER, LEFT_WRIST, HEAD_TOP]].all()
    assert not annotation.visible[[RIGHT_SHOULDER, RIGHT_WRIST, RIGHT_HIP]].any()
    assert annotation.labelled.all()


def test_what_stands_before_a_joint_hides_it():
    who = person(still(Pose()), 0.0)
    screen = Sheet(np.array([[-1.0, 0, -4], [1, 0, -4], [1, 0.35, -4], [-1, 0.35, -4]]), (0.0, 255.0, 0.0))
    free, (image, covered) = picture(who)[1], picture(who, screen)
    ankles = [RIGHT_ANKLE, LEFT_ANKLE]
    assert free.visible[ankles].all()
    assert not covered.visible[ankles].any()
    np.testing.assert_array_equal(covered.labelled, free.labelled)
    np.testing.assert_array_equal(np.delete(covered.visible, ankles), np.delete(free.visible, ankles))
    for x, y in covered.joints[ankles].round().astype(int):
        red, green, blue = image[y, x]
        assert green > 100 > max(red, blue)


def test_joints_outside_of_the_image_are_not_labelled():
    who = replace(person(still(Pose()), 0.0), place=(0.0, -1.6))
    _, annotation = picture(who)
    outside = ~((annotation.joints >= 0) & (annotation.joints <= np.array(SIZE) - 1)).all(axis=1)
    assert outside.any()
    np.testing.assert_array_equal(annotation.labelled, ~outside)
    assert not annotation.visible[outside].any()


def test_a_mirrored_video_swaps_left_and_right():
    video = next(video for video in scenes.videos(0) if video.mirrored)
    image, people = scenes.drawn(video, 0)
    plain, others = scenes.drawn(replace(video, mirrored=False), 0)
    np.testing.assert_array_equal(image[:, ::-1], plain)
    for mirrored, other in zip(people, others, strict=True):
        assert mirrored.joints[RIGHT_WRIST, 0] == pytest.approx(video.size[0] - 1 - other.joints[LEFT_WRIST, 0])
        assert mirrored.joints[RIGHT_WRIST, 1] == other.joints[LEFT_WRIST, 1]


def test_frames_of_a_video_differ_by_a_slight_motion():
    video = next(video for video in scenes.videos(0) if len(video.seconds) == 3)
    first, second = (scenes.drawn(video, frame)[1] for frame in (0, 1))
    shift = np.abs(first[0].joints - second[0].joints)
    assert 0 < shift.max() < 0.6 * 200 * first[0].scale


def test_the_first_twenty_videos_show_every_category():
    assert {video.activity.category for video in islice(scenes.videos(7), 20)} == set(CATEGORIES)
    assert {activity.category for activity in ACTIVITIES} == set(CATEGORIES)
    assert min(Counter(activity.category for activity in ACTIVITIES).values()) >= 3


def test_the_tail_of_activities_is_long():
    counts = Counter(video.activity.name for video in islice(scenes.videos(0), 400)).most_common()
    frequent = sum(count for _, count in counts[:20])
    assert frequent > 0.5 * 400
    assert sum(count <= 2 for _, count in counts) >= 20


def test_planning_counts_the_people_that_drawing_shows():
    for video in islice(scenes.videos(2), 12):
        assert scenes.people_shown(video, 0) == sum(annotation.shown for annotation in scenes.drawn(video, 0)[1])


@pytest.mark.parametrize("activity", ACTIVITIES, ids=lambda activity: activity.name)
def test_an_activity_draws_the_same_numbers_at_every_phase(activity: Activity):
    generators = [np.random.default_rng(5) for _ in range(3)]
    for phase, rng in zip((0.0, 0.3, 0.8), generators, strict=True):
        activity.move(phase, rng)
    assert len({rng.bit_generator.state["state"]["state"] for rng in generators}) == 1


@pytest.mark.parametrize("activity", ACTIVITIES, ids=lambda activity: activity.name)
def test_bones_keep_their_lengths(activity: Activity):
    body = Body(arms=1.05, legs=0.96)
    for phase in (0.0, 0.25, 0.6):
        figure = skeleton(activity.move(phase, np.random.default_rng(0)).pose, body)
        for side in ("left", "right"):
            points = [
                figure.points[f"{side} {name}"] for name in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
            ]
            lengths = np.linalg.norm(np.diff(points, axis=0), axis=1)[[0, 1, 3, 4]]
            np.testing.assert_allclose(lengths, [0.3 * 1.05, 0.26 * 1.05, 0.43 * 0.96, 0.425 * 0.96], atol=1e-9)


def test_a_hand_reaches_its_target():
    figure = skeleton(Pose(left_arm=Reach(0.2, 1.2, 0.35)), Body())
    np.testing.assert_allclose(figure.points["left wrist"], [0.2, 1.2, 0.35], atol=1e-9)


def test_a_straight_arm_raised_forward_points_forward():
    figure = skeleton(Pose(left_arm=Swing(forward=90.0)), Body())
    shoulder, wrist = figure.points["left shoulder"], figure.points["left wrist"]
    np.testing.assert_allclose(wrist - shoulder, [0.0, 0.0, 0.56], atol=1e-9)


def test_the_lower_foot_stands_on_the_ground():
    figure = skeleton(Pose(left_leg=Swing(forward=60.0, bend=90.0)), Body(legs=1.03))
    assert figure.points["right ankle"][1] == pytest.approx(0.075)


def test_a_camera_projects_as_a_pinhole():
    level = Camera(focal=100.0, x=50.0, y=40.0, height=1.0, pitch=0.0)
    np.testing.assert_allclose(level.project(np.array([[1.0, 2.0, -4.0]])), [[50 + 25, 40 - 25, 4.0]])
    assert level.horizon == 40.0
    np.testing.assert_allclose(level.ground_depth(np.array([90.0, 40.0])), [2.0, np.inf])


def test_drawing_is_right_to_a_fraction_of_a_pixel():
    # the centroid of a ball's picture is its projected centre, in the convention that a pixel's centre is whole
    for x in (0.0, 0.013, 0.031):
        canvas = Canvas(
            np.zeros((101, 101, 3), np.uint8),
            Camera(200.0, 50.0, 50.0, 1.0, 0.0),
            Light(np.array([0.0, 0, -1]), 1.0, 0.0),
        )
        canvas.draw(Blob(np.array([x, 1.0, -2.0]), 0.1 * np.eye(3), (255.0, 255.0, 255.0)), 0)
        mass = canvas.image()[:, :, 0].astype(float)
        assert (mass.sum(axis=0) * np.arange(101)).sum() / mass.sum() == pytest.approx(50 + 100 * x, abs=0.12)
        assert (mass.sum(axis=1) * np.arange(101)).sum() / mass.sum() == pytest.approx(50.0, abs=0.12)


def test_the_nearer_of_two_solids_hides_the_other_whatever_their_order():
    near, far = (Blob(np.array([0.0, 1.2, z]), 0.2 * np.eye(3), (200.0, 200.0, 200.0)) for z in (-3.0, -5.0))
    for solids_ in ((near, 1), (far, 2)), ((far, 2), (near, 1)):
        canvas = Canvas(np.zeros((320, 320, 3), np.uint8), CAMERA, LIGHT)
        for solid, owner in solids_:
            canvas.draw(solid, owner)
        x, y, depth = CAMERA.project(near.center)
        owner, surface = canvas.at(x, y)
        assert owner == 1
        assert surface == pytest.approx(depth - 0.2, abs=0.01)


def test_turned_is_a_rotation_to_the_left():
    np.testing.assert_allclose(turned(y=90.0) @ [0.0, 0.0, 1.0], [1.0, 0.0, 0.0], atol=1e-12)
    np.testing.assert_allclose(turned(x=90.0) @ [0.0, 1.0, 0.0], [0.0, 0.0, 1.0], atol=1e-12)
