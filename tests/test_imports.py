"""Imports go one way, so that a newcomer can read the package from the bottom up."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "pose_lightning"
TASKS = {"activity", "heatmap", "regression"}
LAYERS = (
    {"errors", "allocator", "parser_messages", "randomness", "settings", "signals"},
    {"kind"},
    {"kinds"},
    {"files", "options", "ranges", "reading", "terminal"},
    {"trust"},
    {"joints", "divergence", "precision", "sealed", "statistics"},
    {"geometry"},
    {"manner"},
    {"metrics", "draw", "optim", "store", "weights", "warping"},
    {"recomputation", "sync_batchnorm"},
    {"loader", "backbones"},
    {"budget"},
    {"data"},
    {"task", "scoring"},
    TASKS,
    {"runs"},
    {"history"},
    {"arguments", "curves", "training", "exported"},
    {"cli"},
    {"trained"},
    {"evaluate_options"},
    {"evaluate", "predict", "export"},
    {"fit"},
    {"demo", "browse"},
    {"sweep"},
    {"report"},
)
ALLOWED = {owner: set().union(*LAYERS[:level]) for level, layer in enumerate(LAYERS) for owner in layer}
for owner in ALLOWED.keys() - TASKS:
    ALLOWED[owner] -= TASKS  # who knows what a task is asks `kinds`
ALLOWED["kinds"] |= TASKS  # their `__init__`, which imports nothing
ALLOWED["convert"] = {"errors", "files", "options", "reading", "terminal", "joints", "geometry", "store"}
ALLOWED["evaluate"] |= {"convert"}  # reads the course's .npy files as the converter does
ALLOWED["predict"] |= {"convert"}  # reads pictures as the converter does
ALLOWED["export"] |= {"convert"}  # says what people are cut from
ALLOWED["exported"] |= {"convert"}  # cuts people as the converter does
ALLOWED["demo"] |= {"convert"}
ALLOWED["browse"] |= {"convert"}  # compares pictures as the converter does
PARTS = {
    "answers": {"predict"},
    "drawing": {"convert"},
    "estimator": {"cli", "convert", "manner", "predict", "trained"},
    "exported": {"convert", "exported"},
    "exporting": {"convert", "export", "exported"},
    "pair": {"convert"},
    "pictures": {"training"},
    "onnx": {"exported", "predict"},
    "page": {"report", "trust"},
    "peaks": {"exported"},
    "sheet": {"browse", "convert"},
    "stacks": {"cli", "report", "trained", "trust"},
    "weight_file": {"cli", "exported"},
}
"""By name: a task's modules that serve a door, and what they may import beyond the layers below the tasks."""


def imported(path: Path) -> set[str]:
    """What a file imports of this package: the first name below it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            module = node.module or ""
            names |= {f"{module}.{alias.name}" for alias in node.names} if module == "pose_lightning" else {module}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return {name.split(".")[1] for name in names if name.startswith("pose_lightning.")} - {"__version__"}


def test_there_are_modules_to_check() -> None:
    assert len(list(PACKAGE.rglob("*.py"))) > 20


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_one_way(path: Path) -> None:
    owner = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if owner == "__init__":
        assert not imported(path)
        return
    allowed = ALLOWED[owner] | (PARTS.get(path.stem, set()) if owner in TASKS else set())
    assert imported(path) - {owner} <= ({"kind"} if owner in TASKS and path.stem == "__init__" else allowed)
