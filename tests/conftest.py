"""What every test may ask for."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from jaxtyping import install_import_hook

from tests import shapes

ROOT = Path(__file__).resolve().parents[1]


install_import_hook(shapes.modules(), "tests.shapes.check")  # before the package is imported

from tests.warm import Warm, warm  # noqa: E402

torch.set_num_threads(1)  # the tests' networks are tiny; threads that wait for each other are most of their time


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The real photographs and annotations, which are not part of the repository."""
    path = ROOT.parent / "shared" / "data"
    if not path.is_dir():
        pytest.skip(f"no real data at {path.relative_to(ROOT.parent)} beside the repository")
    return path


@pytest.fixture(scope="session")
def demo_stores(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with `train.h5` and `val.h5` of a few drawn people."""
    from pose_lightning.convert import demo  # noqa: PLC0415 - jaxtyping's hook must come before the package

    target = tmp_path_factory.mktemp("demo")
    demo.write(target, people=30, seed=1)
    return target / "mpii" / "pose"


@pytest.fixture(scope="session")
def demo_clip_stores(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with `train.h5`, `val.h5` and `test.h5` of a few drawn clips."""
    from pose_lightning.convert import demo_clips  # noqa: PLC0415 - jaxtyping's hook must come before the package

    target = tmp_path_factory.mktemp("demo_clips")
    performed = demo_clips.takes(1, subjects=("S1", "S8", "S9"), actions=("Walking", "Eating"))
    demo_clips.write(target, performed, seed=1)
    return target / "human36m"


@pytest.fixture(scope="session")
def demo_activity_stores(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with `train.h5`, `val.h5` and `test.h5` of a few drawn activities."""
    from pose_lightning.convert import demo  # noqa: PLC0415 - jaxtyping's hook must come before the package

    target = tmp_path_factory.mktemp("demo_activities")
    demo.write_activities(target, people=60, seed=3)
    return target / "activity"


@pytest.fixture(scope="session")
def warm_process() -> Iterator[Warm]:
    """A process that has imported every door; one for all tests."""
    with warm() as started:
        yield started


@pytest.fixture(scope="session")
def door_inputs(tmp_path_factory: pytest.TempPathFactory, demo_stores: Path) -> Path:
    """A directory of small files, of each format that a door reads."""
    from tests.doors import make_inputs  # noqa: PLC0415 - jaxtyping's hook must come before the package

    target = tmp_path_factory.mktemp("door_inputs")
    make_inputs(target, demo_stores)
    return target
