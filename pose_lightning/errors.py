"""The one error that a user can mend."""


class UserError(ValueError):
    """A mistake in a file, an argument or a setting.

    The message names the file, the key or sample, the value and the remedy. The doors print it alone, without a
    traceback, and exit with 2; modules subclass it (`StoreError`, `ConvertError`) so that callers can tell them apart.
    """
