"""What the scripts share.

Importing it from a script has two effects. A script that runs with another Python than that of the project's own
virtual environment starts again in there; where there is no such environment and no package either, it is built first.
And Ctrl-C ends it at once, as it ends any filter, with no traceback.
"""

import os
import signal
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
VERSION = "1.0.0"

_VENV = os.path.join(ROOT, ".venv")
_PYTHON = os.path.join(_VENV, "bin", "python")
_STARTED_AGAIN = "_RELEASE_STARTED_AGAIN"


def _start_in_own_environment() -> None:
    """Start the script again with the Python of .venv, unless that runs it already or is not needed.

    A half-built .venv has a Python that does not know that it is in there. So the process, whose number stays the
    same, leaves a note for itself, and never starts a third time.
    """
    noted = os.environ.pop(_STARTED_AGAIN, "") == str(os.getpid())
    own = os.path.realpath(sys.prefix) == os.path.realpath(_VENV) and not sys.flags.no_site
    whole = os.path.exists(_PYTHON) and os.path.exists(os.path.join(_VENV, ".stamp"))
    if noted or own or not whole:
        try:
            import jmespath  # noqa: F401
            import msgspec  # noqa: F401
        except ModuleNotFoundError:
            _build(noted)
        else:
            return
    # With -S, Python looks for no packages, in .venv neither.
    arguments = sys.argv if sys.flags.no_site else getattr(sys, "orig_argv", [None, *sys.argv])[1:]
    os.execve(_PYTHON, [_PYTHON, *arguments], {**os.environ, _STARTED_AGAIN: str(os.getpid())})


def _build(noted: bool) -> None:
    """Build .venv, or wait for the make that does: in a pipe behind make, this script may be there first."""
    import subprocess

    # Not sys.executable: it may be the Python of an environment that is built anew.
    base = getattr(sys, "_base_executable", sys.executable)
    command = [base, "-S", "scripts/lib/build_venv.py", "requirements.txt", ".venv/.stamp"]
    if noted or subprocess.call(command, cwd=ROOT, stdin=subprocess.DEVNULL):
        sys.stderr.write(f"{os.path.basename(sys.argv[0])}: the packages of requirements.txt are not installed\n")
        raise SystemExit(2)


if os.path.dirname(os.path.realpath(sys.argv[0])) == os.path.join(ROOT, "scripts"):
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    _start_in_own_environment()
