"""The one error that a user can mend, and how a door reports it."""

import functools
import sys
from collections.abc import Callable
from typing import ParamSpec

Arguments = ParamSpec("Arguments")


class UserError(ValueError):
    """A mistake in a file, an argument or a setting.

    The message names the file, the key or sample, the value and the remedy. The doors print it alone, without a
    traceback, and exit with 2; modules subclass it (`StoreError`, `ConvertError`) so that callers can tell them apart.
    """


def door(main: Callable[Arguments, None]) -> Callable[Arguments, None]:
    """Report a user's mistake in one message, without a traceback, and exit with 2."""

    @functools.wraps(main)
    def wrapped(*args: Arguments.args, **kwargs: Arguments.kwargs) -> None:
        try:
            main(*args, **kwargs)
        except UserError as error:
            sys.stdout.flush()
            print("\n".join([f"error: {error}", *getattr(error, "__notes__", [])]), file=sys.stderr)
            raise SystemExit(2) from None

    return wrapped
