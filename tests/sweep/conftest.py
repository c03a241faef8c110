"""The helpers of these tests are modules beside them."""

import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(autouse=True)
def close_databases() -> Iterator[None]:
    yield
    if stubs := sys.modules.get("stubs"):
        while stubs.OPENED:
            stubs.OPENED.pop().close()


@pytest.fixture
def interruptible() -> Iterator[None]:
    """SIGINT as in a terminal: what a shell starts in the background ignores it, and the runner respects that."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
