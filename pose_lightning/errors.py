"""The one error that a user can mend, and the front of all doors, which reports it."""

import contextlib
import errno
import functools
import os
import re
import sys
from collections.abc import Callable, Mapping
from typing import Final, ParamSpec

Arguments = ParamSpec("Arguments")

REMEDIES: Final[Mapping[int, str]] = {
    errno.ENOSPC: "the disk is full; make room",
    errno.EDQUOT: "your share of the disk is used up; make room",
    errno.EFBIG: "the file would be larger than this system allows (`ulimit -f`)",
    errno.EROFS: "the file system is read-only; choose another place",
    errno.EACCES: "permission denied; change its permissions (`ls -l`), or choose another place",
    errno.EPERM: "the system does not permit it; choose another place",
    errno.EMFILE: "this process has too many open files; raise the limit (`ulimit -n`)",
    errno.ENFILE: "the system has too many open files; close other programs",
    errno.EIO: "the disk does not answer; check it",
    errno.ESTALE: "the network file system has lost the file; mount it again",
    errno.ENAMETOOLONG: "the name is too long; choose a shorter one",
    errno.ELOOP: "it is a link in the place of a file, or links lead in a circle; remove the link",
    errno.EEXIST: "a file of that name is in the way; remove it, or choose another place",
    errno.ENOTDIR: "a part of the path is a file, not a folder; choose another place",
    errno.EISDIR: "it is a folder; name a file",
    errno.ENXIO: "it is a named pipe, a socket or a device in the place of a file; remove it",
    errno.EEXIST: "a file has that name already; remove it, or choose another place",
}
"""Faults of disk and process that a user can mend, and how."""

FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""How a disk says that it, or the user's share of it, is full, and a limit that a file has reached it."""

_BROKEN_PIPE: Final = 128 + 13


class UserError(ValueError):
    """A mistake in a file, an argument or a setting.

    The message names the file, the key or sample, the value and the remedy. The doors print it alone, without a
    traceback, and exit with 2; modules subclass it (`StoreError`, `ConvertError`) so that callers can tell them apart.
    """


def shown(text: object) -> str:
    """A name as a terminal may show it: control characters and what turns the direction of writing are escaped."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape", "backslashreplace").decode()
        for character in str(text)
    )


def complain(message: object) -> None:
    """Print the message of an error, which may have several lines."""
    print("error: " + "\n".join(map(shown, str(message).split("\n"))), file=sys.stderr)


def system_fault(error: BaseException) -> str | None:
    """The file, the reason and the remedy where the disk or a limit of the process is at fault, or else None.

    HDF5 reports the system's error number in its text alone.
    """
    if isinstance(error, MemoryError):
        return f"there is not enough memory{f' ({error})' if str(error) else ''}; ask for less at once, or free some"
    if not isinstance(error, OSError):
        return None
    number = error.errno
    if number is None and (match := re.search(r"\berrno = (\d+)", str(error))):
        number = int(match[1])
    if number is None or number not in REMEDIES:
        return None
    prefix = f"{error.filename}: " if error.filename is not None else ""
    return f"{prefix}{REMEDIES[number]}"


def door(main: Callable[Arguments, None]) -> Callable[Arguments, None]:
    """Report a user's mistake, or a fault of the disk, in one message without a traceback, and exit with 2.

    Anything else is a bug of this package and shows its traceback.
    """

    @functools.wraps(main)
    def wrapped(*args: Arguments.args, **kwargs: Arguments.kwargs) -> None:
        try:
            main(*args, **kwargs)
            sys.stdout.flush()
        except UserError as error:
            message = "\n".join([str(error), *getattr(error, "__notes__", [])])
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the interpreter flushes once more
            raise SystemExit(_BROKEN_PIPE) from None
        except (OSError, MemoryError) as error:
            if (fault := system_fault(error)) is None:
                raise
            message = fault
        else:
            return
        with contextlib.suppress(OSError):  # standard output may be on the full disk too
            sys.stdout.flush()
        complain(message)
        raise SystemExit(2)

    return wrapped
