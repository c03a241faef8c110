"""A server on the loopback that speaks as much of W&B's protocol as sweeps, agents and online runs need.

It keeps what arrives, hands out the cells of a grid, each once, and refuses what it does not know: an operation or a
path that is not written here ends up in `unknown`, which a test asserts to be empty.
"""

import gzip
import itertools
import json
import re
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

import yaml

ENTITY: Final = "tester"
KEY: Final = "a" * 40
"""An API key that is made up, of the length that the client wants."""

OPERATION: Final = re.compile(r"^\s*(?:query|mutation)\s+(\w+)")
FILE_STREAM: Final = re.compile(r"^/files/([^/]+)/([^/]+)/([^/]+)/file_stream$")

TELEMETRY: Final = ("/sdk/otel/v1/logs", "/sdk/otel/v1/metrics", "/sdk/otel/v1/traces")
"""What the client says about itself; nobody reads it."""


@dataclass
class Run:
    """What arrived of one run."""

    name: str
    project: str
    sweep: str | None = None
    group: str | None = None
    config: dict[str, Any] = field(default_factory=dict)
    tags: list[str] = field(default_factory=list)
    history: list[dict[str, Any]] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    exit_code: int | None = None
    starts: int = 0


@dataclass
class Sweep:
    """A registered sweep: its configuration, and the cells that no agent has yet."""

    name: str
    project: str
    config: dict[str, Any]
    waiting: list[dict[str, Any]]
    handed_out: dict[str, tuple[str, dict[str, Any]]] = field(default_factory=dict)
    """Run names, with their agent and values."""


def grid(config: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The cells of a grid, in the file's order."""
    parameters = config["parameters"]
    choices = [each["values"] if "values" in each else [each["value"]] for each in parameters.values()]
    return [dict(zip(parameters, cell, strict=True)) for cell in itertools.product(*choices)]


class FakeServer:
    """The server's state and what it answers; `url` is its address.

    Attributes:
        unknown: Requests that it could not answer.
        operations: Names of the GraphQL operations that came, in their order.
    """

    def __init__(self) -> None:
        self.sweeps: dict[str, Sweep] = {}
        self.agents: dict[str, tuple[str, str]] = {}
        self.runs: dict[str, Run] = {}
        self.unknown: list[str] = []
        self.operations: list[str] = []
        self.lock = threading.Lock()
        self.url = ""

    def graphql(self, query: str, variables: dict[str, Any]) -> dict[str, Any] | None:
        """The data of an operation; None if there is no such operation here."""
        found = OPERATION.match(query)
        name = found[1] if found else query[:60]
        answer = getattr(self, f"_{re.sub('(?<!^)(?=[A-Z])', '_', name).lower()}", None)
        with self.lock:
            self.operations.append(name)
            if not found or answer is None:
                self.unknown.append(f"operation {name}: {query[:400]} {variables}")
                return None
            return answer(variables)

    def _viewer(self, _: dict[str, Any]) -> dict[str, Any]:
        teams = {"edges": [{"node": {"name": ENTITY}}]}
        return {"viewer": {"id": "1", "entity": ENTITY, "username": ENTITY, "email": "", "flags": "{}", "teams": teams}}

    def _get_default_entity(self, _: dict[str, Any]) -> dict[str, Any]:
        return {"viewer": {"id": "1", "entity": ENTITY}}

    def _server_features_query(self, _: dict[str, Any]) -> dict[str, Any]:
        return {"serverInfo": {"features": []}}

    def _organization_core_weave_organization_i_d(self, _: dict[str, Any]) -> dict[str, Any]:
        return {"entity": {"organization": {"coreWeaveOrganizationId": None}}}

    def _upsert_sweep(self, given: dict[str, Any]) -> dict[str, Any]:
        config = yaml.safe_load(given["config"])
        name = f"sweep{len(self.sweeps)}"
        self.sweeps[name] = Sweep(name, given["projectName"], config, grid(config))
        project = {"id": "1", "name": given["projectName"], "entity": {"id": "1", "name": ENTITY}}
        return {"upsertSweep": {"sweep": {"name": name, "project": project}, "configValidationWarnings": []}}

    def _sweep_with_runs(self, given: dict[str, Any]) -> dict[str, Any]:
        sweep = self.sweeps[given["sweep"]]
        node = {"id": sweep.name, "name": sweep.name, "config": yaml.safe_dump(sweep.config), "runs": {"edges": []}}
        return {"project": {"sweep": node}}

    def _get_sweep(self, given: dict[str, Any]) -> dict[str, Any]:
        sweep = self.sweeps[given["name"]]
        node = {"id": sweep.name, "name": sweep.name, "method": sweep.config["method"], "state": "RUNNING"}
        rest = {"config": yaml.safe_dump(sweep.config), "runCount": len(sweep.handed_out)}
        return {"project": {"sweep": {**node, **rest}}}

    def _create_agent(self, given: dict[str, Any]) -> dict[str, Any]:
        agent = f"agent{len(self.agents)}"
        self.agents[agent] = (given["sweep"], given["host"])
        return {"createAgent": {"agent": {"id": agent}}}

    def _heartbeat(self, given: dict[str, Any]) -> dict[str, Any]:
        sweep = self.sweeps[self.agents[given["id"]][0]]
        commands: list[dict[str, Any]] = []
        if not json.loads(given["runState"]):  # the agent's slot is free
            if sweep.waiting:
                values, name = sweep.waiting.pop(0), f"{sweep.name}run{len(sweep.handed_out)}"
                sweep.handed_out[name] = (given["id"], values)
                arguments = {key: {"value": value} for key, value in values.items()}
                program = sweep.config.get("program")
                commands = [{"type": "run", "run_id": name, "program": program, "args": arguments}]
            else:
                commands = [{"type": "exit"}]
        return {"agentHeartbeat": {"agent": {"id": given["id"]}, "commands": json.dumps(commands)}}

    def _run_resume_status(self, given: dict[str, Any]) -> dict[str, Any]:
        return {"model": {"id": "1", "name": given["project"], "entity": {"id": "1", "name": ENTITY}, "bucket": None}}

    def _upsert_bucket(self, given: dict[str, Any]) -> dict[str, Any]:
        inserted = given["name"] not in self.runs
        run = self.runs.setdefault(given["name"], Run(given["name"], given["project"]))
        run.starts += 1
        run.sweep, run.group = given.get("sweep") or run.sweep, given.get("groupName") or run.group
        run.tags = given.get("tags") or run.tags
        sent = json.loads(given["config"]) if given.get("config") else {}
        run.config |= {key: item["value"] for key, item in sent.items()}
        project = {"id": "1", "name": run.project, "entity": {"id": "1", "name": ENTITY}}
        bucket = {"id": run.name, "name": run.name, "displayName": run.name, "config": json.dumps(sent)}
        rest = {"sweepName": run.sweep, "project": project, "historyLineCount": len(run.history)}
        return {"upsertBucket": {"bucket": {**bucket, **rest}, "inserted": inserted}}

    def _create_run_files(self, given: dict[str, Any]) -> dict[str, Any]:
        files = [{"name": name, "uploadUrl": f"{self.url}/storage/{given['run']}/{name}"} for name in given["files"]]
        return {"createRunFiles": {"runID": given["run"], "uploadHeaders": [], "files": files}}

    def _run_state(self, given: dict[str, Any]) -> dict[str, Any]:
        return {"project": {"run": {"id": given["run"], "state": "running"}}}

    def stream(self, name: str, body: dict[str, Any]) -> dict[str, Any]:
        """Take a piece of a run's files: history, summary, and the exit code at its end."""
        with self.lock:
            run = self.runs[name]
            files = body.get("files") or {}
            for line in files.get("wandb-history.jsonl", {}).get("content", []):
                run.history.append(json.loads(line))
            for line in files.get("wandb-summary.json", {}).get("content", []):
                run.summary |= json.loads(line)
            if body.get("complete"):
                run.exit_code = body["exitcode"]
        return {}

    def put(self, path: str, content: bytes) -> bool:
        """Keep an uploaded file; False if `path` is none."""
        _, where, *rest = path.split("/", 3)
        if where != "storage" or len(rest) != 2:
            return False
        with self.lock:
            self.runs[rest[0]].files[rest[1]] = content
        return True


def _handler(server: FakeServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            """Say nothing."""

        def _body(self) -> bytes:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            return gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body

        def _answer(self, answer: dict[str, Any] | None) -> None:
            payload = json.dumps({"errors": [{"message": "unknown"}]} if answer is None else answer).encode()
            self.send_response(400 if answer is None else 200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

        def _refuse(self) -> None:
            with server.lock:
                server.unknown.append(f"{self.command} {self.path}")
            self._answer(None)

        def do_POST(self) -> None:
            body = self._body()
            if self.path == "/graphql":
                request = json.loads(body)
                data = server.graphql(request["query"], request.get("variables") or {})
                self._answer(None if data is None else {"data": data})
            elif self.path in TELEMETRY:
                self._answer({})
            elif found := FILE_STREAM.match(self.path):
                self._answer(server.stream(found[3], json.loads(body)))
            else:
                self._refuse()

        def do_PUT(self) -> None:
            if server.put(self.path, self._body()):
                self._answer({})
            else:
                self._refuse()

        def do_GET(self) -> None:
            self._body()
            self._refuse()

        do_DELETE = do_HEAD = do_PATCH = do_GET  # noqa: N815 - the library's names

    return Handler


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a client that has ended without a farewell."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


@contextmanager
def serving() -> Iterator[FakeServer]:
    """A server at a free port of the loopback."""
    state = FakeServer()
    with _Server(("127.0.0.1", 0), _handler(state)) as http:
        state.url = f"http://127.0.0.1:{http.server_address[1]}"
        thread = threading.Thread(target=http.serve_forever, daemon=True)
        thread.start()
        try:
            yield state
        finally:
            http.shutdown()
            thread.join()
