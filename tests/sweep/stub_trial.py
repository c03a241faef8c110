"""A trial that trains nothing: it counts steps, keeps checkpoints and metrics as a run does, and tells on doubles.

Usage: stub_trial.py FOLDER LOG RESUME RATE SEED STEPS SECONDS_PER_STEP MISHAP
"""

import fcntl
import json
import os
import signal
import sys
import time
from pathlib import Path


def main() -> int:
    folder, log, resume, rate, seed, steps, pause, mishap = sys.argv[1:]
    path = Path(folder)
    lock = os.open(f"{log}.alone", os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        say(log, "DOUBLE")
        return 9
    if mishap == "fail" or (mishap == "fail once" and not Path(log).exists()):
        say(log, "start")
        print("a traceback\nValueError: no such luck")
        return 3
    say(log, "resume" if resume == "1" else "start")
    stopping: list[int] = []
    if mishap == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    else:
        signal.signal(signal.SIGTERM, lambda *_: stopping.append(1))
    checkpoint = path / "checkpoints" / "last.ckpt"
    if resume == "1":
        done, score = json.loads(checkpoint.read_text())
    else:
        if (path / "config.yaml").exists():
            say(log, "NOT CLEAR")
            return 9
        (path / "checkpoints").mkdir(parents=True, exist_ok=True)
        (path / "config.yaml").write_text("seed: 1\n")
        (path / "metrics.csv").write_text("step,samples,epoch,val/score\n")
        done, score = 0, float(seed)
    while done < int(steps):
        time.sleep(float(pause))
        done, score = done + 1, score * 0.5 + float(rate)
        kept = (path / "metrics.csv").read_text().splitlines()[:done]
        (path / "metrics.csv.new").write_text("\n".join([*kept, f"{done},{done},0,{score!r}"]) + "\n")
        (path / "metrics.csv.new").rename(path / "metrics.csv")
        checkpoint.with_suffix(".new").write_text(json.dumps([done, score]))
        checkpoint.with_suffix(".new").rename(checkpoint)
        if stopping:
            say(log, f"stopped at {done}")
            return 143
    (path / "metrics.json").write_text("{}")
    say(log, "end")
    return 0


def say(log: str, text: str) -> None:
    with Path(log).open("a") as file:
        file.write(f"{text}\n")


if __name__ == "__main__":
    raise SystemExit(main())
