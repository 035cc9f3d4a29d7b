"""Build the project's virtual environment, unless it stands: once, however many makes ask for it at the same time.

    python3 -S scripts/lib/build_venv.py requirements.txt .venv/.stamp

Runs with any Python 3, and says all that it says on stderr. It needs no package: -S does not look for any, which would
take as long as all else; and it imports little, because every make waits for it. A stamp says where it is, of which
Python, and what was installed; it is written last. An environment that differs from its stamp, or whose installation
did not finish, is built anew.
"""

import fcntl
import os
import sys

VENV = ".venv"
PYTHON = os.path.join(VENV, "bin", "python")
FIRST = os.path.join(VENV, ".stamp")
UNFINISHED = os.path.join(VENV, ".unfinished")
VERSION = "{}.{}".format(*sys.version_info)  # noqa: UP032
SUPPORTED = sys.version_info >= (3, 11)  # noqa: UP036 (this one script runs with whatever Python is there)


def main(requirements: str, stamp: str) -> None:
    """Install what a file lists into the virtual environment, which is made first when it does not stand."""
    why = trouble()
    if not why and lines(stamp)[2:] == lines(requirements):
        return
    if not SUPPORTED:
        sys.exit(f"Python 3.11 or newer is needed, this is {VERSION}: name one, as in make BASE_PYTHON=python3.13")
    if why:
        import shutil

        print(f"building {VENV}: {why}", file=sys.stderr)
        if os.path.isdir(VENV) and not os.path.islink(VENV):
            shutil.rmtree(VENV)
        elif os.path.lexists(VENV):
            os.remove(VENV)
        # Not sys.executable: it may be the Python of the environment that has just been removed.
        run(getattr(sys, "_base_executable", sys.executable), "-m", "venv", VENV)
    with open(UNFINISHED, "w", encoding="utf-8"):
        pass
    run(PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement", requirements)
    with open(stamp, "w", encoding="utf-8") as file:
        file.write("\n".join([os.path.realpath(VENV), VERSION, *lines(requirements)]) + "\n")
    os.remove(UNFINISHED)


def trouble() -> str:
    """Return why the virtual environment has to be built, or "" when it stands."""
    if not os.path.lexists(VENV):
        return "there is none yet"
    if not os.path.exists(PYTHON):
        return "its Python is gone"
    if os.path.exists(UNFINISHED) or len(lines(FIRST)) < 2:
        return "its last installation did not end"
    folder, version, *installed = lines(FIRST)
    if folder != os.path.realpath(VENV):
        return "it was made in another folder"
    # A Python that is too old to build one says nothing about the one that stands.
    if SUPPORTED and version != VERSION:
        return f"it is of Python {version}, and this is {VERSION}"
    return "" if installed == lines("requirements.txt") else "requirements.txt has changed"


def lines(path: str) -> "list[str]":
    """Return the lines of a file, none when it is not there."""
    if not os.path.exists(path):
        return []
    with open(path, encoding="utf-8") as file:
        return file.read().splitlines()


def run(*command: str) -> None:
    """Run a command that must succeed, with its stdout on stderr."""
    import subprocess

    code = subprocess.call(command, stdout=2)
    if code > 0 and os.path.exists(FIRST):
        os.remove(UNFINISHED)  # it gave up by itself, so what stood stands: no network, say
    if code:
        sys.exit(f"{' '.join(command)}: exit {code}")


if __name__ == "__main__":
    try:
        with open(__file__, encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            main(*sys.argv[1:])
    except KeyboardInterrupt:
        sys.exit(130)
