"""The command `failsoft`, the same one from cargo, pip and npm."""

import os
import signal
import sys

from ._failsoft import run_command


def main() -> int:
    """Runs the command with this process's arguments."""
    # Ctrl-C ends the command itself, not the interpreter around it.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    # `failsoft demo` looks for a server here: `pip install failsoft[demo]`.
    os.environ.setdefault("FAILSOFT_PYTHON", sys.executable)
    return run_command(["failsoft", *sys.argv[1:]])


if __name__ == "__main__":
    sys.exit(main())
