"""A sweep on a W&B server: the real client and its agents talk to a server on the loopback, which records."""

import csv
import json
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import fake_server
import pytest
import yaml
from fake_server import ENTITY, KEY, FakeServer
from stubs import stub, told
from wandb.sdk.launch.sweeps.utils import create_sweep_command_args

from pose_lightning.errors import UserError
from pose_lightning.sweep import agent, server
from pose_lightning.sweep.agent import Order, value
from pose_lightning.sweep.files import SweepFile
from pose_lightning.sweep.slots import Slot

ROOT = Path(__file__).resolve().parents[2]
LAYERS = ["--config=experiments/hourglass_mpii.yaml", "--config=experiments/demo/hourglass_mpii.yaml"]
SMALL = [
    "--model.network.stacks=1",
    "--model.network.features=8",
    "--model.network.depth=2",
    "--model.schedule=constant",
    "--model.warmup=0",
    "--data.input_size=64",
    "--trainer.enable_progress_bar=false",
    "--pictures.every=0",  # their table is an artifact, of which the loopback server knows nothing
]
PARAMETERS: dict[str, Any] = {
    "config": {"values": ["experiments/optimizers/adam_1e-3.yaml", "experiments/optimizers/sgd_momentum_1e-2.yaml"]},
    "data.batch_size": {"values": [4, 8]},
    "seed_everything": {"values": [7]},
}
RUN = """
import sys
from pathlib import Path
from pose_lightning.sweep import server
from pose_lightning.sweep.files import SweepFile
assert server.available()
file, folder, *layers = sys.argv[1:]
print(server.run(
    SweepFile.read(Path(file)), layers=layers, slots=1, count=None, project="proj", folder=Path(folder),
    say=lambda text: print(text, flush=True),
))
"""


@pytest.fixture(autouse=True)
def in_the_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)  # a sweep names its recipes from there


def sweep_file(folder: Path, *flags: str, parameters: dict[str, Any] | None = None, **more: Any) -> SweepFile:
    start = ["${env}", "${interpreter}", "-m", "pose_lightning.fit", LAYERS[0]]
    document = {
        "program": "pose_lightning/fit.py",
        "command": [*start, *flags, "${args}"],
        "method": "grid",
        "metric": {"name": "val/pckh", "goal": "maximize"},
        "parameters": parameters or PARAMETERS,
        **more,
    }
    path = folder / "optim.yaml"
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    return SweepFile.read(path)


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeServer]:
    """A server, and an environment in which somebody is logged in to it."""
    with fake_server.serving() as found:
        for key in [key for key in os.environ if key.startswith("WANDB_")]:
            monkeypatch.delenv(key)
        monkeypatch.setenv("WANDB_BASE_URL", found.url)
        monkeypatch.setenv("WANDB_API_KEY", KEY)
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.setenv("OMP_NUM_THREADS", "1")
        monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
        monkeypatch.setenv("PYTHONPATH", str(ROOT))
        yield found


@pytest.mark.slow
def test_two_agents_take_every_cell_and_flat_settings_and_metrics_arrive(
    served: FakeServer, demo_stores: Path, tmp_path: Path
) -> None:
    budget = ["--budget.max_samples=48", "--budget.validations=2", "--trainer.log_every_n_steps=1"]
    file = sweep_file(tmp_path, *SMALL, *budget, f"--data.root={demo_stores}")
    folder = tmp_path / "runs" / "optim_demo"
    command = [sys.executable, "-c", RUN, str(file.path), str(folder), *LAYERS]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as runner:
        assert runner.stdout is not None
        said = [runner.stdout.readline(), runner.stdout.readline()]
        joining = shlex.split(said[1][said[1].index("wandb agent") :])
        with (tmp_path / "joined.txt").open("w") as output:
            joined = subprocess.run(joining, check=False, stdout=output, stderr=subprocess.STDOUT)
        said += runner.stdout.readlines()
    output_of_agents = (tmp_path / "joined.txt").read_text() + (folder / "agent0.txt").read_text()
    assert [runner.returncode, joined.returncode] == [0, 0], output_of_agents
    assert said[0] == f"dashboard: {served.url}/{ENTITY}/proj/sweeps/sweep0\n"
    assert said[-1] in ("here\n", "elsewhere\n")  # the agent that joined may have been at its last trial still
    again = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout  # the sweep that is there
    assert again.splitlines() == [*(line.rstrip("\n") for line in said[:2]), "here"]
    assert served.unknown == []

    sweep = served.sweeps["sweep0"]
    assert len(served.sweeps) == 1
    assert {taken for taken, _ in sweep.handed_out.values()} == {"agent0", "agent1"}
    assert set(served.agents) == {"agent0", "agent1", "agent2"}
    assert not sweep.waiting
    assert len(served.runs) == 4
    cells = {cell.name: cell for cell in file.cells()}
    assert {run.config["cell"] for run in served.runs.values()} == set(cells)
    for run in served.runs.values():
        cell = cells[run.config["cell"]]
        place = folder / "trials" / cell.name / "7"
        adam = cell.name.startswith("adam")
        assert (run.project, run.sweep, run.group, run.exit_code) == ("proj", "sweep0", "optim_demo", 0)
        assert run.config["optimizer"] == ("adam" if adam else "sgd")
        assert run.config["lr"] == (1e-3 if adam else 1e-2)
        assert run.config["batch_size"] == cell.values["data.batch_size"]
        assert run.config["model.optimizer"] == run.config["optimizer"]
        assert (run.config["seed"], run.config["experiment"]) == (7, "hourglass_mpii_demo")
        assert run.config["sweep"] == "optim_demo"
        assert run.config["revision"] is None or len(run.config["revision"]) >= 40
        assert "demo" in run.tags
        metrics = run.config["_wandb"]["m"]  # the client's form: 1 is a name, 2 a pattern, 5 the number of its axis
        assert [metrics[each["5"] - 1]["1"] for each in metrics if each.get("2") == "*"] == ["samples"]
        validated = [row for row in run.history if "val/pckh" in row]
        assert [row["samples"] for row in validated] == [24, 48]
        assert run.summary["val/pckh"] == validated[-1]["val/pckh"]
        told = json.loads((place / "trial.json").read_text())
        assert (told["state"], told["seed"], told["values"]) == ("complete", 7, dict(cell.values))
        with (place / "metrics.csv").open() as kept:
            losses = [float(row["val/loss"]) for row in csv.DictReader(kept) if row["val/loss"]]
        assert [row["val/loss"] for row in validated] == pytest.approx(losses, rel=1e-6)


def order(file: SweepFile, folder: Path, cell: int = 0, limits: Sequence[str] = ()) -> Order:
    """What an agent makes of the command of a registered sweep and the values that the server sends."""
    registered = server.document(file, LAYERS, folder=folder, devices=2, limits=limits)
    chosen = fake_server.grid(registered)[cell]
    sent = {"args": {name: {"value": each} for name, each in chosen.items()}}
    command = registered["command"]
    assert command[:4] == ["${env}", "${interpreter}", "-m", "pose_lightning.sweep.agent"]
    assert command[-1] == "${args}"
    return Order.read([*command[4:-1], *create_sweep_command_args(sent)["args"]])


def test_the_values_of_the_server_become_the_trials_of_the_file(tmp_path: Path) -> None:
    file = sweep_file(tmp_path)
    orders = [order(file, tmp_path / "optim_demo", number) for number in range(4)]
    assert [each.cell for each in orders] == file.cells()
    assert {each.seed for each in orders} == {7}
    assert orders[1].place.path == tmp_path / "optim_demo" / "trials" / "adam_1e-3-batch_size=8" / "7"
    assert (orders[0].devices, list(orders[0].layers)) == (2, LAYERS)


def test_numbers_are_those_of_the_file_however_they_were_sent() -> None:
    listed = {"values": [1.0, 1e-5, True, [1, 2], "a=b"]}
    sent = ["1", "1e-05", "True", "[1, 2]", "a=b"]
    assert [value(listed, text) for text in sent] == listed["values"]
    assert type(value({"min": 1, "max": 8}, "3")) is int
    assert value({"min": 0.0, "max": 1.0}, "3e-05") == 3e-5
    assert type(value({"distribution": "q_uniform", "min": 0, "max": 9, "q": 2}, "4.0")) is int
    with pytest.raises(UserError, match="the server sent 3, which is none of"):
        value(listed, "3")


def test_a_tuned_sweep_gives_the_server_the_trials_that_rates_are_chosen_on(tmp_path: Path) -> None:
    file = sweep_file(tmp_path, parameters={**PARAMETERS, "seed_everything": {"values": [1, 2, 101, 102]}})
    registered = server.document(file, LAYERS, folder=tmp_path, devices=1)
    assert {cell["seed_everything"] for cell in fake_server.grid(registered)} == {101, 102}


def test_a_count_is_shared_out_over_the_slots() -> None:
    slots = [Slot(index, f"cpu {index}") for index in range(3)]
    shares = {count: [share for _, share in server._shares(count, slots)] for count in (None, 1, 3, 7)}
    assert shares == {None: [None, None, None], 1: [1], 3: [1, 1, 1], 7: [3, 2, 2]}


@pytest.mark.parametrize("mode", ["offline", "disabled"])
def test_who_wants_no_server_gets_none(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("WANDB_MODE", mode)
    assert not server.available()


def test_without_a_login_there_is_no_server(served: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WANDB_API_KEY")
    ask = [sys.executable, "-c", "from pose_lightning.sweep import server; print(server.available())"]
    assert subprocess.run(ask, check=True, capture_output=True, text=True).stdout == "False\n"
    assert (served.operations, served.unknown) == ([], [])


class TestOneTrial:
    """What becomes of a trial that an agent starts; it is a stub."""

    @pytest.fixture
    def logs(self, tmp_path: Path) -> Path:
        (tmp_path / "logs").mkdir()
        return tmp_path / "logs"

    @pytest.fixture
    def given(self, tmp_path: Path) -> Order:
        file = sweep_file(tmp_path, parameters={"model.lr": {"values": [1.0, 2.0]}})
        return order(file, tmp_path / "optim_demo")

    @staticmethod
    def told(given: Order) -> dict[str, Any]:
        return json.loads((given.place.path / "trial.json").read_text())

    def test_it_leaves_what_a_runner_would_leave_and_is_not_run_again(self, given: Order, logs: Path) -> None:
        for _ in range(2):
            assert agent.run(given, stub(logs), lambda path: "complete") == 0
        assert told(logs) == {"lr=1.0-1": ["start", "end"]}
        expected = {
            "sweep": "optim_demo",
            "cell": "lr=1.0",
            "seed": 1,
            "state": "complete",
            "attempts": 1,
            "error": None,
        }
        assert expected.items() <= self.told(given).items()

    def test_it_fails_with_the_end_of_its_log(self, given: Order, logs: Path) -> None:
        failing = stub(logs, mishaps={"lr=1.0 1": "fail"})
        assert agent.run(given, failing, lambda path: "complete") == 1
        assert (self.told(given)["state"], self.told(given)["log_end"][-1]) == ("failed", "ValueError: no such luck")

    def test_it_runs_again_as_often_as_the_sweep_was_registered_with(
        self, tmp_path: Path, logs: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        file = sweep_file(tmp_path, parameters={"model.lr": {"values": [1.0, 2.0]}})
        once, always = stub(logs, mishaps={"lr=1.0 1": "fail once"}), stub(logs, mishaps={"lr=2.0 1": "fail"})
        given = order(file, tmp_path / "optim_demo", limits=["--retry=1"])
        assert agent.run(given, once, lambda path: "complete") == 0
        assert (self.told(given)["state"], self.told(given)["attempts"]) == ("complete", 2)
        monkeypatch.setenv(agent.LIMITS, "--retry=2 --timeout=60.0")
        other = order(file, tmp_path / "optim_demo", 1, limits=["--retry=1"])
        assert (other.limits.retry, other.limits.timeout) == (2, 60.0)
        assert agent.run(other, always, lambda path: "complete") == 1
        assert told(logs) == {"lr=1.0-1": ["start", "start", "end"], "lr=2.0-1": ["start"] * 3}

    def test_it_is_stopped_after_its_time(self, tmp_path: Path, logs: Path) -> None:
        file = sweep_file(tmp_path, parameters={"model.lr": {"values": [1.0, 2.0]}})
        given = order(file, tmp_path / "optim_demo", limits=["--timeout=0.5"])
        assert agent.run(given, stub(logs, steps=1000, pause=0.05), lambda path: "complete") == 1
        assert (self.told(given)["state"], self.told(given)["error"]) == ("failed", "stopped after --timeout 0.5 s")

    def test_a_diverged_one_is_no_failure(self, given: Order, logs: Path) -> None:
        assert agent.run(given, stub(logs), lambda path: "diverged") == 0
        assert self.told(given)["state"] == "diverged"

    @pytest.mark.usefixtures("interruptible")
    @pytest.mark.parametrize(
        ("number", "early", "state"),
        [(signal.SIGINT, True, "waiting"), (signal.SIGTERM, False, "waiting"), (signal.SIGTERM, True, "pruned")],
    )
    def test_it_writes_its_checkpoint_when_told_to_stop_and_goes_on_from_there(
        self, number: signal.Signals, early: bool, state: str, tmp_path: Path, logs: Path
    ) -> None:
        rule = {"early_terminate": {"type": "hyperband", "min_iter": 1}} if early else {}
        given = order(sweep_file(tmp_path, parameters={"model.lr": {"values": [1.0, 2.0]}}, **rule), tmp_path / "demo")

        def stop() -> None:
            checkpoint = given.place.path / "checkpoints" / "last.ckpt"
            while not checkpoint.is_file():
                time.sleep(0.01)
            os.kill(os.getpid(), number)

        helper = threading.Thread(target=stop)
        helper.start()
        agent.run(given, stub(logs, steps=200, pause=0.02), lambda path: "complete")
        helper.join()
        assert self.told(given)["state"] == state
        assert agent.run(given, stub(logs, steps=200, pause=0.0), lambda path: "complete") == 0
        assert [line.split()[0] for line in told(logs)["lr=1.0-1"]] == ["start", "stopped", "resume", "end"]
        assert (self.told(given)["state"], self.told(given)["attempts"]) == ("complete", 2)

    def test_it_is_not_run_while_another_process_has_it(self, given: Order, logs: Path) -> None:
        lock = given.place.grasp()
        assert lock is not None
        with pytest.raises(UserError, match="is being run already"):
            agent.run(given, stub(logs), lambda path: "complete")
        os.close(lock)
        assert told(logs) == {}
