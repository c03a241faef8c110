"""Command lines of the doors other than `fit`, which refuse in one line."""

import argparse
import re
from typing import NoReturn

from pose_lightning.errors import UserError
from pose_lightning.parser_messages import KINDS, closest


class OptionParser(argparse.ArgumentParser):
    """A parser whose refusals are a `UserError`, with the option, its value and what it takes."""

    def error(self, message: str) -> NoReturn:
        """Refuse a command line.

        Raises:
            UserError: Always.
        """
        raise UserError(f"{self._explained(message)}; see `{self.prog} --help`")

    def _explained(self, message: str) -> str:
        if match := re.fullmatch(r"argument (.+?): invalid choice: '?(.*?)'? \(choose from (.*)\)", message, re.DOTALL):
            choices = re.findall(r"'([^']*)'|(\d+)", match[3])
            names = [word or number for word, number in choices]
            return f"{match[1]} {match[2]} is not one of {', '.join(names)}{closest(match[2], names)}"
        if match := re.fullmatch(r"argument (.+?): invalid (\w+) value: '(.*)'", message, re.DOTALL):
            return f"{match[1]} {match[3]} is not {KINDS.get(match[2], 'what it takes')}"
        if match := re.fullmatch(r"argument (.+?): expected (?:one|at least one) argument", message):
            return f"{match[1]} has no value"
        if match := re.fullmatch(r"the following arguments are required: (.*)", message):
            return f"the command has no {match[1]}"
        if match := re.fullmatch(r"unrecognized arguments: (.*)", message, re.DOTALL):
            name = match[1].split()[0].partition("=")[0]
            names = [option for option in self._option_string_actions if option != name]
            return f"{match[1]} is no option of this command{closest(name, names)}"
        return message
