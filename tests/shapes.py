"""Shapes in the package's signatures, checked while the tests run."""

from pathlib import Path
from typing import Final

from beartype import BeartypeConf, beartype

PACKAGE: Final = Path(__file__).resolve().parents[1] / "pose_lightning"
UNCHECKED: Final = {"convert/human36m_clips.py", "predict/pictures.py", "heatmap/task.py", "activity/task.py"}
"""Beartype would ask whether arguments of the first two are of their Protocols, which only type checkers know; tasks
take a network or a freeze as plain data too, as checkpoints hold them."""

check = beartype(conf=BeartypeConf(is_pep484_tower=True))
"""Whole numbers are floats too, as type checkers have it."""


def modules() -> list[str]:
    """The package's modules whose signatures have shapes."""
    assert all((PACKAGE / name).is_file() for name in UNCHECKED)
    paths = [path for path in PACKAGE.rglob("*.py") if "from jaxtyping import" in path.read_text()]
    names = [
        path.relative_to(PACKAGE.parent) for path in paths if path.relative_to(PACKAGE).as_posix() not in UNCHECKED
    ]
    return [".".join(name.with_suffix("").parts) for name in names]
