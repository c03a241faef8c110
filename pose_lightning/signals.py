"""Signals that ask a run to stop: they are noted where they come, and obeyed where a run can be gone on with."""

import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Final

import pytorch_lightning as pl
import torch

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)

ECHO: Final = 0.5
"""Seconds within which a second signal is the first once more: launchers pass on what the terminal has sent already."""


class Stopped(BaseException):
    """A signal has stopped the run; whoever catches every `Exception` does not catch it.

    Attributes:
        number: The signal.
        step: Optimizer steps that are done.
        requeued: Whether its job is to run again, from its command on.
    """

    requeued = False

    def __init__(self, number: int, step: int) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name} after step {step}")
        self.number, self.step = number, step

    @property
    def code(self) -> int:
        """The exit status that a shell gives a process which the signal ended: 130, 143, 138."""
        return 128 + self.number


class StopRequest:
    """The signal that asked to stop, if one did; a second one ends the process at once.

    Args:
        signals: Which ones; one that is ignored, as under nohup, stays so.
    """

    def __init__(self, signals: Sequence[signal.Signals] = SIGNALS) -> None:
        self.signals = signals
        self.number: int | None = None
        self._taken: tuple[signal.Signals, ...] = ()
        self._since = 0.0

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take the signals, and give them back in the end; in another thread than the main one nobody can take them."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {each: signal.getsignal(each) for each in self.signals if signal.getsignal(each) != signal.SIG_IGN}
        self._taken = tuple(before)
        self.listen()
        try:
            yield
        finally:
            self._taken = ()
            for each, handler in before.items():
                signal.signal(each, handler)

    def listen(self) -> None:
        """Take the signals back from whoever has taken them meanwhile."""
        for each in self._taken:
            signal.signal(each, self._take)

    def _take(self, number: int, frame: FrameType | None) -> None:
        name = signal.Signals(number).name
        if self.number is None:
            self.number, self._since = number, time.monotonic()
            note = f"\n{name}: the run stops at the end of this step, with a checkpoint; once more stops it at once\n"
            os.write(2, note.encode())
        elif time.monotonic() - self._since > ECHO:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)

    def agreed(self, trainer: pl.Trainer) -> int | None:
        """The signal that any process of the run has; every process asks at the same moment."""
        if trainer.world_size == 1:
            return self.number
        number = torch.tensor(self.number or 0, device=trainer.strategy.root_device)
        torch.distributed.all_reduce(number, torch.distributed.ReduceOp.MAX)
        return int(number) or None
