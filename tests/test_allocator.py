"""What is freed is kept: asking again brings no new pages."""

import platform
import subprocess
import sys

import pytest

REPEATED = """
import resource
import torch
from pose_lightning.allocator import keep_freed_memory
if {keep}:
    assert keep_freed_memory()
for _ in range(20):  # glibc before 2.38 leaves the first few aligned blocks unused
    torch.empty(2**24).fill_(1)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    torch.empty(2**24).fill_(1)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(*, keep: bool) -> int:
    code = REPEATED.format(keep=keep)
    return int(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="mallopt is glibc's")
def test_memory_once_used_is_used_again() -> None:
    assert page_faults(keep=True) < page_faults(keep=False) / 10
