"""The parser's and Lightning's refusals in the user's own terms: one line, with the key, the value and the remedy."""

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Final

KINDS: Final[Mapping[str, str]] = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "str": "text",
    "list": "a list",
    "tuple": "a list",
}


def closest(name: str, names: Iterable[str]) -> str:
    """The end of a sentence that asks for the most similar name; empty where none is similar."""
    similar = difflib.get_close_matches(name, sorted(set(names)), 1)
    return f"; did you mean {similar[0]}?" if similar else ""


_BASES: Final = re.compile(
    r"^( *)- Problem with given class_path '(?:pytorch_lightning\.\w+|pose_lightning\.data\.StoreDataModule)':\n"
    r"(?:\1 +.*\n?)*",
    re.MULTILINE,
)
"""The part of a refusal that is of a class from which others are derived, which nobody has named."""


def explain_parser(message: str, known: Iterable[str], classes: Iterable[str] = ()) -> str:
    """A refusal of jsonargparse in one line.

    Args:
        message: Its own words.
        known: Every setting that there is, such as `trainer.max_steps`.
        classes: Names of classes that settings may have.
    """
    is_layer = "Given value: {'init_args'" in message
    key = ".".join(dict.fromkeys(re.findall(r'[Pp]arser key "([^"]+)"', message))).replace(".init_args.", ".")
    if is_layer:
        return (
            f"{key} has no class_path: this YAML is a layer over another one; give that one first, as in "
            "--config experiments/NAME.yaml --config experiments/demo/NAME.yaml"
        )
    key = "seed_everything" if key == "data.seed" else key
    message = _BASES.sub("", message)
    explained = (
        _explain_part(message, key, known)
        or _explain_key(message, key, known)
        or _explain_class(message, key, classes)
        or _explain_value(message, key)
    )
    if explained is not None:
        return explained
    lines = [line.strip(" -") for line in message.splitlines() if line.strip(" -")]
    shown = [line for line in lines if not re.search(r"Union subtypes|Subtypes:|NestedArg|Errors:|--help|<class", line)]
    return " ".join(shown)


def _explain_key(message: str, key: str, known: Iterable[str]) -> str | None:
    """A refusal of a setting that is missing, or that there is not."""
    if match := re.fullmatch(r"the following arguments are required: (.+)", message):
        return (
            f"{match[1]} is missing; an experiment's YAML, such as --config experiments/hourglass_mpii.yaml, names it"
        )
    if match := re.search(r"[Uu]nrecognized arguments: (\S+)", message):
        name = match[1].removeprefix("--").partition("=")[0]
        form = "" if match[1].startswith("-") else "; settings are --KEY=VALUE, and YAMLs --config FILE"
        return f"{match[1]} is no setting{closest(name, known) or form}"
    if match := re.search(r"Unable to load config ['\"](.*?)['\"]", message):
        return f"{key}={match[1]} is no group of settings; set one of them, as in {_first(key, known)}=VALUE"
    group = re.search(r"Group '([^']+)' does not accept option '([^']+)'", message)
    option = re.search(r"Option '([^']+)' is not accepted", message)
    if group or option:
        parts = group.groups() if group else (key, option[1] if option else "")
        name = ".".join(filter(None, parts)).replace(".init_args.", ".")
        if name not in known:
            return f"{name} is no setting{closest(name, known)}"
        value = re.search(r"NestedArg\(key='\w+', val='?(.*?)'?\)", message)
        return f"{name}{f'={value[1]}' if value else ''} is not what this setting takes"
    return None


def _explain_part(message: str, key: str, known: Iterable[str]) -> str | None:
    """A refusal of a class or function that is a setting's value, or of an argument of it."""
    if match := re.search(r"Option '([^']+)' is not accepted\. Got value: Namespace\(class_path='([^']+)'", message):
        owner, name = match[2].rpartition(".")[2], f"{key}.{match[1]}"
        return f"{name} is no setting of {owner}{closest(name, set(known) - {name})}"
    if match := re.search(r"Expected '([^']+)' to be a function that returns <class '(\w+)'>", message):
        return f"{key}={match[1]}: this function does not say what it returns; write -> {match[2]} behind its arguments"
    value = re.search(r"(?:Given|Got) value: (?!NestedArg|Namespace)(.*)", message)
    if value and (match := re.search(r"module '[^']+' has no attribute '[^']+'", message)):
        return f"{key}={value[1]} names nothing: {match[0]}"
    return None


def _explain_class(message: str, key: str, classes: Iterable[str]) -> str | None:
    """A refusal of a class, or of one that lacks an argument."""
    if match := re.search(r"class_path '([^']+)':\s+the following arguments are required: (.*)", message):
        return f"{key}: {match[1].rpartition('.')[2]} needs {match[2]}; set {key}.{match[2].split(', ')[0]}"
    if (match := re.search(r"dot import path string: (.*)", message)) and not (
        "typing.Literal[" in message and "." not in match[1]
    ):
        return f"{key}={match[1]} names no class{closest(match[1], classes)}"
    value = re.search(r"(?:Given|Got) value: (?!NestedArg|Namespace)(.*)", message)
    if value and (match := re.search(r"No module named '[^']+'", message)):
        return f"{key}={value[1]} names no class: there is {match[0][0].lower()}{match[0][1:]}"
    if value and (match := re.search(r"does not correspond to a subclass of (\w+)", message)):
        return f"{key}={value[1]} is no {match[1]}"
    return None


def _explain_value(message: str, key: str) -> str | None:
    """A refusal of a value of another kind."""
    value = re.search(
        r"(?:Got|Given) value: (?!NestedArg|Namespace)(.*?)(?:\. Got value: Namespace.*)?$", message, re.M
    )
    if (pair := re.search(r"Given value: (?!NestedArg|Namespace)(.*)", message)) and "tuple[int, int]]" in message:
        return f"{key}={pair[1]} is not a whole number or a list of two, as [256, 192]"
    types = [name for name in re.findall(r"Expected (?:an? )?<class '(\w+)'>", message) if name != "NoneType"]
    kinds = list(dict.fromkeys(KINDS.get(name, name) for name in types))
    if value and (match := re.search(r"Expected (?:an? )?typing\.Literal\[(.*?)\]", message)):
        names = re.findall(r"'([^']*)'|(?<=, )([^',]+)|^([^',]+)", match[1])
        choices = [one or two or three for one, two, three in names] + [kind for kind in kinds if kind == KINDS["bool"]]
        return f"{key}={value[1]} is not one of {', '.join(choices)}{closest(value[1], choices)}"
    if value and kinds:
        return f"{key}={value[1]} is not {' or '.join(_numbers(kinds))}"
    return None


def _first(group: str, known: Iterable[str]) -> str:
    return f"--{min((name for name in known if name.startswith(f'{group}.')), default=f'{group}.KEY')}"


def _numbers(kinds: list[str]) -> list[str]:
    """Leave out the whole numbers where any number would do."""
    return [kind for kind in kinds if kind != KINDS["int"] or KINDS["float"] not in kinds]


def explain_trainer(message: str, settings: Mapping[str, object]) -> str:
    """A refusal of Lightning's trainer in one line, with the settings that it names."""
    if "in callbacks list" in message:
        return (
            "trainer.callbacks has a ModelCheckpoint, but a run writes its own checkpoints; leave it out, and see "
            "checkpoint.every_n_steps and checkpoint.follow"
        )
    text = re.sub(r"\s+", " ", message.replace("`", ""))
    devices, accelerator = settings.get("devices"), settings.get("accelerator")
    if re.search(r"should be an int > 0|not a valid input using|invalid literal for int|requested gpu", text):
        return (
            f"trainer.devices={devices} cannot be had with trainer.accelerator={accelerator}: it is the number of "
            "processes on a CPU, or of GPUs, 1 or more"
        )
    if "backend found" in text or "can not run on your system" in text:
        return f"trainer.accelerator={accelerator}: this machine has none that PyTorch finds; take auto or cpu"
    if "is not a valid duration" in text:
        return (
            f"trainer.max_time={settings.get('max_time')} is no time; it is days:hours:minutes:seconds, such as "
            "00:01:30:00 for an hour and a half"
        )
    named = [key for key in settings if re.search(rf"\b{key}\b", text)]
    values = ", ".join(f"trainer.{key}={settings[key]}" for key in named)
    return f"{values or 'trainer'}: {text}"
