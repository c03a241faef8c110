"""Signals that ask to stop, for whoever has trials to stop first."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def told_to_stop() -> Iterator[list[int]]:
    """The signals that came, in their order, instead of what they would have done.

    A signal that is ignored, as under nohup, stays so. Outside the main thread, which alone gets signals, none comes.
    """
    came: list[int] = []

    def keep(number: int, frame: FrameType | None) -> None:
        came.append(number)

    main = threading.current_thread() is threading.main_thread()
    taken = [each for each in SIGNALS if signal.getsignal(each) != signal.SIG_IGN] if main else []
    before = {each: signal.signal(each, keep) for each in taken}
    try:
        yield came
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


@contextmanager
def heard_by_children(number: signal.Signals) -> Iterator[None]:
    """Processes started meanwhile obey a signal that this one ignores, where it is what they are told to stop with."""
    ignored = signal.getsignal(number) == signal.SIG_IGN and threading.current_thread() is threading.main_thread()
    if ignored:
        signal.signal(number, signal.SIG_DFL)
    try:
        yield
    finally:
        if ignored:
            signal.signal(number, signal.SIG_IGN)
