"""Build the project's virtual environment, once, however many makes ask for it at the same time.

    python3 scripts/lib/build_venv.py requirements.txt .venv/.stamp

Runs with any Python 3 and says all that it says on stderr; the stamp is touched last.
"""

import fcntl
import os
import subprocess
import sys

PYTHON = os.path.join(".venv", "bin", "python")


def build(requirements: str, stamp: str) -> None:
    """Install what a file lists into .venv, unless another process has just done it."""
    if sys.version_info < (3, 10):  # noqa: UP036 (this one script runs with whatever Python is there)
        sys.exit("Python 3.10 or newer is needed, this is {}.{}".format(*sys.version_info))  # noqa: UP032
    with open(requirements, encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if os.path.exists(stamp) and os.path.getmtime(stamp) >= os.path.getmtime(requirements):
            os.utime(stamp)
            return
        if not os.path.exists(PYTHON):
            run(sys.executable, "-m", "venv", ".venv")
        run(PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement", requirements)
        run(PYTHON, "-m", "compileall", "-q", os.path.join("scripts", "lib"))
        with open(stamp, "w", encoding="utf-8"):
            pass


def run(*command: str) -> None:
    """Run a command that must succeed, with its stdout on stderr."""
    code = subprocess.call(command, stdout=2)
    if code:
        sys.exit(f"{' '.join(command)}: exit {code}")


if __name__ == "__main__":
    build(sys.argv[1], sys.argv[2])
