"""Reading files that somebody else made: regular files alone, of bounded size, and nothing in them is run.

Each reader raises `UserError`, or the subclass that it is given, and names the file, the reason and the remedy.
"""
