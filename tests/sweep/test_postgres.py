"""Runners on several machines share a study through a PostgreSQL server, which these tests start."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from stubs import GRID, assert_each_ran_once, open_study, start, sweep_file, told
from test_kill import LONGER, end_trials


def program(name: str) -> str | None:
    """A program of PostgreSQL: on the path, or where Debian puts it."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return shutil.which(name) or (str(found[-1]) if found else None)


def ordinary_user() -> str | None:
    """Whom the server runs as; None for who we are. Skips where there is nobody else than root."""
    if os.geteuid() != 0:
        return None
    there = {entry.pw_name for entry in pwd.getpwall()}
    for name in ("postgres", "nobody"):
        if name in there:
            return name
    pytest.skip("PostgreSQL refuses to run as root, and there is no user postgres or nobody")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The URL of a server on a loopback port, without the database's name."""
    initdb, postgres = program("initdb"), program("postgres")
    if initdb is None or postgres is None:
        pytest.skip("no PostgreSQL server is installed (Debian: apt-get install postgresql)")
    pytest.importorskip("psycopg", reason="no driver for PostgreSQL: pip install 'pose_lightning[cluster]'")
    user, port = ordinary_user(), free_port()
    home = Path(tempfile.mkdtemp(prefix="pose_lightning_postgres_"))
    try:
        if user is not None:
            shutil.chown(home, user)
        made = subprocess.run(
            [initdb, "-D", str(home / "data"), "-U", "pose", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"],
            check=False,
            capture_output=True,
            text=True,
            user=user,
            cwd=home,
        )
        assert made.returncode == 0, made.stderr
        command = [postgres, "-D", str(home / "data"), "-h", "127.0.0.1", "-p", str(port), "-k", str(home), "-F"]
        with (home / "log").open("w") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, user=user, cwd=home)
        try:
            await_port(port, process, home / "log")
            yield f"postgresql://pose@127.0.0.1:{port}"
        finally:
            process.terminate()  # refuses new connections and waits for the old ones
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.send_signal(3)  # SIGQUIT: at once
                process.wait(10)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def await_port(port: int, process: "subprocess.Popen[bytes]", log: Path) -> None:
    for _ in range(600):
        assert process.poll() is None, log.read_text()
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0 and "ready to accept connections" in log.read_text():
                return
        time.sleep(0.1)
    raise AssertionError(log.read_text())


@pytest.fixture
def storage(server: str, request: pytest.FixtureRequest) -> str:
    """A database of the test's own."""
    import psycopg  # noqa: PLC0415

    name = f"test_{abs(hash(request.node.name))}"
    with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
        connection.execute(f"create database {name}")  # type: ignore[arg-type]
    return f"{server}/{name}"


def test_of_two_runners_on_one_study_the_other_finishes_what_a_killed_one_had(tmp_path: Path, storage: str) -> None:
    file, folder, logs = sweep_file(tmp_path, LONGER), tmp_path / "sweep", tmp_path / "logs"
    logs.mkdir()
    settings = {"storage": storage, "shared": True, "slots": 2}
    killed, left = (start(folder, file, logs, **settings) for _ in range(2))
    for process in (killed, left):
        await_output(process, ": starts on")
    time.sleep(0.4)
    killed.kill()
    killed.communicate()
    out, _ = left.communicate(timeout=180)
    assert left.returncode == 0, out
    assert_each_ran_once(open_study(file, folder, storage), logs, trials=12)


def test_what_another_machine_had_begun_is_lost_after_its_lease(tmp_path: Path, storage: str) -> None:
    """Two machines without a common file system: two folders, and only the database between them."""
    file, logs = sweep_file(tmp_path, GRID), tmp_path / "logs"
    logs.mkdir()
    (tmp_path / "other").mkdir()
    settings = {"storage": storage, "shared": True, "slots": 1, "limits": {"lease": 4.0}, "steps": 40}
    gone = start(tmp_path / "other" / "sweep", file, logs, **settings)
    while not any(told(logs).values()):
        time.sleep(0.02)
    gone.kill()
    gone.communicate()
    end_trials(tmp_path / "other" / "sweep")
    begun = [name for name, lines in told(logs).items() if "end" not in lines]
    assert len(begun) == 1
    left = start(tmp_path / "sweep", file, logs, **settings)
    out, _ = left.communicate(timeout=180)
    assert left.returncode == 0, out
    assert "nothing heard of its runner" in out
    assert told(logs)[begun[0]] == ["start", "start", "end"]
    study = open_study(file, tmp_path / "sweep", storage)
    assert [entry.state for entry in study.entries()] == ["complete"] * 6
    assert all(lines.count("end") == 1 and "DOUBLE" not in lines for lines in told(logs).values())


def await_output(process: "subprocess.Popen[str]", text: str) -> None:
    assert process.stdout is not None
    said = ""
    for line in process.stdout:
        said += line
        if text in line:
            return
    raise AssertionError(said)
