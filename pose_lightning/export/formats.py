"""Three formats: how a network is written in each, and how the file is read back and asked."""

import copy
import importlib.util
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn

from pose_lightning.errors import UserError
from pose_lightning.export.networks import Exportable
from pose_lightning.exported.session import EXTRA, OnnxNetwork

FormatName = Literal["onnx", "exported-program", "safetensors"]

Ask = Callable[[Tensor], Tensor]
"""From a batch to the answers of the file."""

LARGEST_ONNX: Final = 2_000_000_000
"""Bytes of weights; a file of protobuf ends at 2^31."""

WRITTEN_OUT: Final = ("temporal.layers.layers.", "temporal.layers.")
"""How the names of recurrent weights begin in `Unrolled`, and where they are from."""

FACTS: Final = "facts.json"
"""The name inside an exported program's archive."""

NEEDED: Final = ("onnxscript", "onnxruntime")

TRACED_BATCH: Final = 2
"""Of the example; a batch of 1 would be taken for a constant."""


@dataclass(frozen=True)
class Format:
    """One of the formats.

    Attributes:
        suffix: Of its files.
        write: To a path.
        read: From a path: how to ask what is there.
        check: Refuse what the format cannot hold, before anything is written.
    """

    suffix: str
    write: Callable[[Exportable, Path], None]
    read: Callable[[Exportable, Path], Ask]
    check: Callable[[Exportable], None] = lambda exportable: None


def traced(exportable: Exportable) -> torch.export.ExportedProgram:
    """The network's operations, for batches of any size."""
    example = torch.zeros(TRACED_BATCH, *exportable.facts.input.shape)
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # its one operation is in no other library
    try:
        with torch.no_grad():
            batch = {0: torch.export.Dim("batch")}
            return torch.export.export(exportable.answer, (example,), dynamic_shapes=(batch,))
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


def _check_onnx(exportable: Exportable) -> None:
    if missing := [name for name in NEEDED if importlib.util.find_spec(name) is None]:
        raise UserError(f"--format onnx needs {' and '.join(missing)}, which the extra has: {EXTRA}")
    size = sum(each.nbytes for each in exportable.answer.state_dict().values())
    if size > LARGEST_ONNX:
        raise UserError(
            f"--format onnx: the weights are {size / 1e9:.1f} GB, and one ONNX file holds {LARGEST_ONNX / 1e9:.0f} GB; "
            "take --format exported-program"
        )


def _write_onnx(exportable: Exportable, path: Path) -> None:
    facts = exportable.facts
    program: Any = torch.onnx.export(
        traced(exportable),
        dynamo=True,
        input_names=[facts.input.name],
        output_names=[facts.output.name],
        verbose=False,
    )
    program.model.metadata_props.update(facts.to_metadata())
    program.save(path, external_data=False)


def _read_onnx(exportable: Exportable, path: Path) -> Ask:
    network = OnnxNetwork(path)
    return lambda batch: torch.from_numpy(network(batch.numpy()))


def _write_program(exportable: Exportable, path: Path) -> None:
    facts = json.dumps(exportable.facts.to_metadata())
    archive = io.BytesIO()  # PyTorch's own writer of files ends the process where the disk is full
    torch.export.save(traced(exportable), archive, extra_files={FACTS: facts})
    path.write_bytes(archive.getbuffer())


def _read_program(exportable: Exportable, path: Path) -> Ask:
    module: nn.Module = torch.export.load(path).module()
    return module


def _write_safetensors(exportable: Exportable, path: Path) -> None:
    metadata = {**exportable.facts.to_metadata(), **exportable.metadata}
    path.write_bytes(save(_state(exportable), metadata=metadata))


def _read_safetensors(exportable: Exportable, path: Path) -> Ask:
    """The weights in a copy of the network that has none of its own."""
    answer: Any = copy.deepcopy(exportable.answer)
    with torch.no_grad():
        for parameter in answer.parameters():
            parameter.zero_()
    wanted, found = _state(exportable), load_file(path)
    if wanted.keys() != found.keys():
        raise AssertionError(f"{path} holds other weights than it was given")
    for key, value in answer.state_dict().items():
        name = key.removeprefix("network.")
        value.copy_(found[name if name in found else name.replace(*WRITTEN_OUT)])
    return answer


def _state(exportable: Exportable) -> dict[str, Tensor]:
    """The network's own weights, and below its name those of what else the answer needs, such as `targets.`."""
    state = {key: value.contiguous() for key, value in exportable.network.state_dict().items()}
    for name, part in exportable.answer.named_children():
        if name != "network":
            state |= {f"{name}.{key}": value.contiguous() for key, value in part.state_dict().items()}
    return state


FORMATS: Final[dict[FormatName, Format]] = {
    "onnx": Format(".onnx", _write_onnx, _read_onnx, _check_onnx),
    "exported-program": Format(".pt2", _write_program, _read_program),
    "safetensors": Format(".safetensors", _write_safetensors, _read_safetensors),
}
