"""The list of the tasks: what a door knows of them, it asks here."""

from collections.abc import Iterable

from pose_lightning import activity, heatmap, regression
from pose_lightning.kind import Kind

KINDS: tuple[Kind, ...] = (heatmap.KIND, regression.KIND, activity.KIND)
"""Every task; another one is its folder, and its place here."""


def of(instance: object) -> Kind | None:
    """The task that a LightningModule or data module is of, or is derived from."""
    bases = [f"{base.__module__}.{base.__qualname__}" for base in type(instance).__mro__]
    return next((kind for kind in KINDS if kind.task in bases or kind.data in bases), None)


def of_store(name: object) -> Kind | None:
    """The task that is trained on stores whose `kind` this is."""
    return next((kind for kind in KINDS if kind.store == name), None)


def named(name: str) -> Kind:
    """The task of a name that is known to be one's."""
    return next(kind for kind in KINDS if kind.name == name)


def of_class(path: str) -> Kind | None:
    """The task whose LightningModule or data module has this name, with its module or without."""
    name = path.rpartition(".")[2]
    return next((kind for kind in KINDS if name in (kind.task_name, kind.data_name)), None)


def having(part: str) -> list[Kind]:
    """The tasks whose folder has a module of this name."""
    return [kind for kind in KINDS if kind.has(part)]


def listed(kinds: Iterable[Kind], last: str = ", ") -> str:
    """The LightningModules' names, with another word before the last one."""
    *others, final = [kind.task_name for kind in kinds]
    return last.join(filter(None, [", ".join(others), final]))
