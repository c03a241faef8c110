"""Signals that ask to stop."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from pose_lightning.sweep.stopping import SIGNALS, heard_by_children, told_to_stop

HEARS = "import signal; print(signal.getsignal(signal.SIGINT) != signal.SIG_IGN)"


@pytest.fixture
def ignored() -> Iterator[None]:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_signals_are_kept_in_their_order_and_given_back() -> None:
    before = [signal.getsignal(each) for each in SIGNALS]
    with told_to_stop() as came:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
        assert came == [signal.SIGTERM, signal.SIGINT]
    assert [signal.getsignal(each) for each in SIGNALS] == before


@pytest.mark.usefixtures("ignored")
def test_an_ignored_signal_stays_ignored() -> None:
    with told_to_stop() as came:
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
        os.kill(os.getpid(), signal.SIGINT)
    assert came == []
    assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN


def test_a_thread_takes_no_signals() -> None:
    before, during = signal.getsignal(signal.SIGTERM), []

    def listen() -> None:
        with told_to_stop():
            during.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=listen)
    thread.start()
    thread.join()
    assert during == [before]


@pytest.mark.usefixtures("ignored")
def test_children_hear_what_this_process_ignores() -> None:
    with heard_by_children(signal.SIGINT):
        heard = subprocess.run(
            [sys.executable, "-S", "-c", HEARS], check=True, stdout=subprocess.PIPE, text=True
        ).stdout
    deaf = subprocess.run([sys.executable, "-S", "-c", HEARS], check=True, stdout=subprocess.PIPE, text=True).stdout
    assert (heard, deaf) == ("True\n", "False\n")
    assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
