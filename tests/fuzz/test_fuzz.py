"""Mutated files through their doors: no crash, no traceback, no hang, no gigabytes.

`FUZZ=checkpoint:17 pytest tests/fuzz` tries one mutation again, and says what became of it.
"""

import hashlib
import os
import shutil
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from tests.fuzz import mutations
from tests.fuzz.formats import FORMATS, Format, make
from tests.warm import Job, Outcome, Warm, warm

FEW, MANY = 20, 1000


@pytest.fixture(scope="session")
def sources(tmp_path_factory: pytest.TempPathFactory, demo_stores: Path) -> Path:
    folder = tmp_path_factory.mktemp("sources")
    make(folder, demo_stores)
    return folder


@pytest.fixture(scope="session")
def process() -> Iterator[Warm]:
    with warm() as started:
        yield started


def mutated(name: str, seed: int, data: bytes) -> tuple[str, bytes]:
    """Kind of the mutation and the bytes; those of even seeds begin behind the header."""
    draw = np.random.default_rng([zlib.crc32(name.encode()), seed])
    form = FORMATS[name]
    if form.inner is not None and draw.random() < 0.6:
        return "inner", form.inner(data, draw)
    return mutations.binary(data, form.header, seed % 2 == 0 or draw.random() < 0.3, draw)


@dataclass
class Trial:
    """One file through a door."""

    form: Format
    sources: Path
    folder: Path
    process: Warm

    def run(self, data: bytes) -> tuple[Outcome, str]:
        """How the door ended, and a digest of its answer."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir()
        for name in self.form.inputs:
            source = self.sources / name
            if source.is_dir():
                shutil.copytree(source, self.folder / name, copy_function=os.link)
            else:
                os.link(source, self.folder / name)
        (self.folder / self.form.file).unlink(missing_ok=True)
        (self.folder / self.form.file).write_bytes(data)
        outcome = self.process.run(Job(self.form.door, self.form.args.split(), str(self.folder)))[0]
        return outcome, "" if outcome.code else self.answer(outcome)

    def answer(self, outcome: Outcome) -> str:
        digest = hashlib.sha256()
        for name in self.form.answers:
            path = self.folder / name
            if not path.exists():
                digest.update(b"absent")
            elif path.suffix == ".h5":
                with h5py.File(path) as file:
                    file.visititems(lambda key, item: digest.update(key.encode() + contents(item)))
            else:
                digest.update(path.read_bytes())
        if not self.form.answers:
            digest.update(outcome.out.encode())
        return digest.hexdigest()


def contents(item: Any) -> bytes:
    if not isinstance(item, h5py.Dataset):
        return b""
    values = item[()]
    return repr(values.tolist()).encode() if isinstance(values, np.ndarray) else repr(values).encode()


@dataclass
class Counts:
    """Outcomes of one format."""

    kinds: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def add(self, name: str, seed: int, kind: str, outcome: Outcome, same: bool) -> None:
        self.seconds += outcome.seconds
        if name.endswith("_store") and outcome.code == 1 and "samples are damaged" in outcome.out:
            self.kinds["refused"] += 1
        elif (fault := outcome.fault) is not None:
            self.kinds[fault] += 1
            last = (outcome.err.strip() or outcome.out.strip() or "no word").splitlines()[-1]
            self.failures.append(f"FUZZ={name}:{seed} ({kind}): {fault}: {last[:300]}")
        elif outcome.code:
            self.kinds["refused"] += 1
        else:
            self.kinds["accepted, same answer" if same else "accepted, another answer"] += 1


def fuzz(name: str, seeds: range, sources: Path, folder: Path, process: Warm) -> Counts:
    form, counts = FORMATS[name], Counts()
    trial = Trial(form, sources, folder / "trial", process)
    data = (sources / form.file).read_bytes()
    outcome, unmutated = trial.run(data)
    assert outcome.code == 0, outcome.err
    for seed in seeds:
        kind, changed = mutated(name, seed, data)
        outcome, answer = trial.run(changed)
        counts.add(name, seed, kind, outcome, answer == unmutated)
    report = f"{name}: {dict(counts.kinds)}, {counts.seconds / len(seeds):.2f} s each"
    print("\n".join([report, *counts.failures]))
    return counts


@pytest.mark.parametrize("name", FORMATS)
def test_a_few_mutations_end_well(name: str, sources: Path, tmp_path: Path, process: Warm) -> None:
    assert not fuzz(name, range(FEW), sources, tmp_path, process).failures


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMATS)
def test_a_thousand_mutations_end_well(name: str, sources: Path, tmp_path: Path, process: Warm) -> None:
    assert not fuzz(name, range(MANY), sources, tmp_path, process).failures


@pytest.mark.skipif("FUZZ" not in os.environ, reason="FUZZ=FORMAT:SEED names a mutation to be tried again")
def test_one_mutation_again(sources: Path, process: Warm) -> None:
    name, _, seed = os.environ["FUZZ"].partition(":")
    folder = Path("/tmp") / f"fuzz-{name}-{seed}"  # noqa: S108 - to be looked at afterwards
    trial = Trial(FORMATS[name], sources, folder, process)
    kind, changed = mutated(name, int(seed), (sources / FORMATS[name].file).read_bytes())
    outcome, _ = trial.run(changed)
    print(f"{kind} in {folder}: {outcome.fault or 'well'}, exit code {outcome.code}\n{outcome.out}\n{outcome.err}")
    assert outcome.fault is None
