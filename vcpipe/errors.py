"""The one exception that means: the input is wrong, and here is what to do about it."""


class InputError(Exception):
    """Something given to vcpipe (a file, a key, a recording) cannot be used as it is.

    The message is one line for a person: it names the file, key or utterance, what was expected, what was
    found, and what to type next. The command line prints it without a traceback and exits with 2.
    """
