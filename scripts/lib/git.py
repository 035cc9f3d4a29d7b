"""Asking git about the commits of other people's repositories. Whatever stands in them is data.

A clone has commits only, no trees and no files. The user's own configuration of git holds (proxies, insteadOf,
credential helpers); nothing of the repository's does: no hook, no submodule, no fetch behind our back.
"""

import os
import re
import shutil

from lib import processes
from lib.model import LoggedCommit
from lib.settings import settings, variable
from lib.streams import KosliFailed, printable, reason

TIMEOUT = 120.0  # seconds for one repository, or one question
MOST_COMMITS = 250
LONGEST_SUBJECT = 200
_PASSED = (
    *("HOME", "XDG_CONFIG_HOME", "SSH_AUTH_SOCK", "GIT_SSL_CAINFO"),
    *("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM", "GIT_CONFIG_NOSYSTEM"),
)
_OURS = ("core.hooksPath=/dev/null", "gc.auto=0", "maintenance.auto=false", "submodule.recurse=false")
_COMMITS_ONLY = ("--quiet", "--no-tags", "--filter=tree:0")
_PULL_REQUESTS = (
    (re.compile(r"\(#(\d+)\)\Z").search, "#"),  # GitHub, squashed
    (re.compile(r"\AMerge pull request #(\d+)\b").search, "#"),  # GitHub and Bitbucket Data Center
    (re.compile(r"\(pull request #(\d+)\)\Z").search, "#"),  # Bitbucket Cloud
    (re.compile(r"\AMerged PR (\d+)\b").search, "!"),  # Azure DevOps
)
_MERGE_REQUEST = re.compile(r"^See merge request \S*!(\d+)\s*\Z", re.MULTILINE).search  # GitLab, in the message's end


class GitFailed(Exception):
    """Git could not say what was asked."""


class Clone:
    """A bare clone of a repository without trees."""

    def __init__(self, folder: str, url: str) -> None:
        """Bring every branch of the repository at `url` into `folder`, or what is new there. Raises GitFailed."""
        self.folder = folder
        if os.path.exists(os.path.join(folder, "HEAD")):
            self.fetch("--prune", "origin", "+refs/heads/*:refs/heads/*")
        else:
            how = ("--bare", "--template=", "--origin=origin", "--reject-shallow")
            unfinished = f"{folder}.unfinished"
            for left in (unfinished, folder):  # by a process that was killed
                shutil.rmtree(left, ignore_errors=True)
            self.git("clone", *_COMMITS_ONLY, *how, url, unfinished, network=True)
            try:
                os.rename(unfinished, folder)
            except OSError as error:  # another process was quicker
                raise GitFailed(f"git clone: the clone cannot be kept: {reason(error)}") from None

    def fetch(self, *what: str) -> None:
        """Fetch commits. Raises GitFailed."""
        self.git("fetch", *_COMMITS_ONLY, "--no-write-fetch-head", *what, network=True)

    def has(self, sha: str) -> bool:
        try:
            self.git("cat-file", "-e", f"{sha}^{{commit}}")
        except GitFailed:
            return False
        return True

    def is_on_branch(self, sha: str) -> bool:
        """Say whether any branch holds a commit."""
        try:
            return bool(self.git("for-each-ref", "--count=1", f"--contains={sha}", "refs/heads/"))
        except GitFailed:
            if self.has(sha):
                raise
            return False

    def counts(self, old: str, new: str) -> tuple[int, int]:
        """Return how many commits only the new one, and only the old one, has in its history.

        What no branch holds any more is fetched by its hash, once.
        """
        question = ("rev-list", "--left-right", "--count", f"{old}...{new}", "--")
        try:
            behind, ahead = self.git(*question).split()
        except GitFailed:
            for sha in (new, old):
                self.fetch_by_hash(sha)
            behind, ahead = self.git(*question).split()
        return int(ahead), int(behind)

    def fetch_by_hash(self, sha: str) -> None:
        """Fetch a commit unless it is there."""
        if not self.has(sha):
            try:
                self.fetch("origin", sha)
            except GitFailed:
                raise GitFailed(f"the repository does not give the commit {sha}") from None

    def commits(self, old: str, new: str) -> list[LoggedCommit]:
        """Return the newest commits that only the new one has in its history."""
        form = "--format=%H%x00%ct%x00%an%x00%cn%x00%B"
        # The fields are separated by NUL, which no name and no message can hold.
        options = ("-z", f"--max-count={MOST_COMMITS}", "--no-show-signature", "--no-color", form)
        fields = self.git("log", *options, f"{old}..{new}", "--").decode("utf-8", "replace").split("\0")
        return [commit(*fields[i : i + 5]) for i in range(0, len(fields) - 4, 5)]

    def git(self, *arguments: str, network: bool = False) -> bytes:
        """Return what git prints. Raises GitFailed with the line that tells its cause."""
        protocols = os.environ.get("GIT_ALLOW_PROTOCOL") or "https"
        own = {
            "GIT_ALLOW_PROTOCOL": protocols if network else "none",
            "GIT_NO_LAZY_FETCH": "1",
            "GIT_TERMINAL_PROMPT": "0",
            "LC_ALL": "C.UTF-8",
        }
        options = list(_OURS)
        if network and (host := settings().changes.token_host) and variable("SOURCES_TOKEN"):
            # The helper's own shell expands the token, when git asks for it: it is in no file and on no command line.
            own["SOURCES_TOKEN"] = variable("SOURCES_TOKEN")
            helper = '!f() { echo username=oauth2; echo "password=$SOURCES_TOKEN"; }; f'
            options.append(f"credential.https://{host}.helper={helper}")
        flags = [flag for option in options for flag in ("-c", option)]
        command = ("git", *flags, f"--git-dir={self.folder}", *arguments)
        try:
            ended = processes.run(*command, env=processes.environment(_PASSED, own), cwd="/", timeout=TIMEOUT)
        except TimeoutError:
            raise GitFailed(f"git {arguments[0]}: no answer within {TIMEOUT:g} seconds") from None
        except KosliFailed as error:
            raise GitFailed(*error.causes) from None
        if ended.code:
            token = variable("SOURCES_TOKEN") or "\0"
            said = ended.stderr.decode("utf-8", "replace").replace(token, "[token]").strip().splitlines()
            # Advice can follow the cause.
            cause = next((line for line in said if line.startswith("fatal: ")), said[-1] if said else "")
            raise GitFailed(printable(f"git {arguments[0]}: {cause or f'exit {ended.code}'}"))
        return ended.stdout


def commit(sha: str, time: str, author: str, committer: str, message: str) -> LoggedCommit:
    """Return a commit from what git says of it, with its texts cut and on one line."""
    subject = message.strip().partition("\n")[0]
    return LoggedCommit(
        sha,
        int(time or 0),
        printable(author[:LONGEST_SUBJECT]),
        printable(committer[:LONGEST_SUBJECT]),
        printable(subject[:LONGEST_SUBJECT]),
        pull_request(subject, message),
    )


def pull_request(subject: str, message: str) -> str:
    """Return the pull request that a commit's message names, as its host writes it: #12 or !12; "" for none."""
    for search, sign in _PULL_REQUESTS:
        if match := search(subject):
            return sign + match[1]
    match = _MERGE_REQUEST(message.strip()[-LONGEST_SUBJECT:])
    return f"!{match[1]}" if match else ""
