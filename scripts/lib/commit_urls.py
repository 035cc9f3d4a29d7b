"""Commit pages: from a URL that anybody may have reported to a repository, a sha and a compare page.

A commit URL is read from its end, by the shape of its path. The host decides only what a shape leaves open.
"""

from __future__ import annotations

import re
from collections import namedtuple
from functools import cache

# url         https://github.com/cyber-dojo/saver
# host        github.com (with a port that is not the scheme's own)
# path        cyber-dojo/saver: the names only, without the host's own words (projects, repos, _git, -)
# name        saver
# provider    github, gitlab, bitbucket, azure, other
# commit      what follows the URL in that of a commit page, with {sha}
# compare     what follows the URL in that of a compare page, with {old} and {new}
# raw         what stands before /SHA/FILE in the page of a file at a commit; "" where the host has no such page
Repository = namedtuple("Repository", "url host path name provider commit compare raw")
Commit = namedtuple("Commit", "sha repository")

LONGEST_URL = 2000  # what every browser takes

_SEGMENT = r"[A-Za-z0-9._~%+-]+"
_SHA = re.compile(r"[0-9a-fA-F]{40}(?:[0-9a-fA-F]{24})?").fullmatch
# The scheme, the host, its port, the path, commit or commits.
_HEAD = re.compile(
    r"((?i:https?))://([a-zA-Z0-9.-]+|\[[0-9a-fA-F:]+\])(?::([0-9]+))?(/[a-zA-Z0-9._~%+/-]+)/((?i:commits?))", re.ASCII
).fullmatch
_DATA_CENTER = re.compile(rf"(?:.*/)?(?:projects|users)/({_SEGMENT})/repos/({_SEGMENT})").fullmatch
# Segments that mean another path: dots, and encoded dots, slashes and control characters.
_MISLEADING = re.compile(r"/(?:\.|%2e){1,2}(?:/|$)|%(?:2f|5c|7f|[01][^/])", re.IGNORECASE | re.ASCII).search
_ENCODED = re.compile(r"%([0-9a-fA-F]{2})").sub
_DEFAULT_PORTS = {"http": "80", "https": "443"}
_KNOWN_HOSTS = {
    "github.com": "github",
    "gitlab.com": "gitlab",
    "bitbucket.org": "bitbucket",
    "dev.azure.com": "azure",
    "codeberg.org": "other",
    "gitea.com": "other",
}


def parse(url: str) -> Commit | None:
    """Return the commit whose page `url` is, or None when it is no commit page that can be relied on."""
    head, _, sha = url.partition("#")[0].partition("?")[0].rstrip("/").rpartition("/")
    if not _SHA(sha) or len(url) > LONGEST_URL or not url.isprintable() or " " in url:
        return None
    repository = _repository(head)
    return repository and Commit(sha.lower(), repository)


def commit_page(commit: Commit) -> str:
    """Return the URL of the page that shows one commit."""
    sha, repository = commit
    return str(repository.url + repository.commit.replace("{sha}", sha))


def compare_page(old: Commit | None, new: Commit) -> str:
    """Return the URL of the page that shows what came between two commits, in the grammar of their host.

    Without two commits of one repository there is nothing to compare: then it is the page of the new one.
    """
    sha, repository = new
    if old is None or old.sha == sha or not same_repository(old, new):
        return commit_page(new)
    return str(repository.url + repository.compare.replace("{old}", old.sha).replace("{new}", sha))


def raw_page(commit: Commit, file: str) -> str:
    """Return the URL of a file's text at a commit, "" where the host has no such page."""
    sha, repository = commit
    return f"{repository.raw}/{sha}/{file}" if repository.raw else ""


def same_host(one: Commit, other: Commit) -> bool:
    """Say whether two commits are on one host."""
    return bool(one.repository.host == other.repository.host)


def same_repository(one: Commit, other: Commit) -> bool:
    """Say whether two commits are in one repository."""
    return one.repository is other.repository or address(one.repository.url) == address(other.repository.url)


def address(url: str) -> str:
    """Return what a repository is known by: no host tells two apart by their scheme, case or percent-encoding."""
    host_and_path = url.rpartition("://")[2]
    if "%" in host_and_path:
        host_and_path = _ENCODED(lambda match: chr(int(match[1], 16)), host_and_path)
    return host_and_path.lower()


@cache
def _repository(head: str) -> Repository | None:
    """Return the repository of a commit URL without its /sha, None when it is of none."""
    match = _HEAD(head.rstrip("/"))
    if not match:
        return None
    scheme, host, port, path, word = match.groups()
    segments = path.split("/")[1:]
    if "" in segments:
        segments = [segment for segment in segments if segment]
    if not segments or (("%" in path or "/." in path) and _MISLEADING(path)) or int(port or 0) > 65535:
        return None
    scheme, host = scheme.lower(), host.lower()
    if host.removeprefix("www.") in _KNOWN_HOSTS:
        host = host.removeprefix("www.")
    if port and port != _DEFAULT_PORTS[scheme]:
        host = f"{host}:{port}"
    last = -2 if segments[-1] == "-" and len(segments) > 2 else -1
    segments[last] = segments[last].removesuffix(".git") or segments[last]
    found = _several_commits(segments) if word.lower() == "commits" else _one_commit(segments, host)
    if not found:
        return None
    provider, route, names, commit, compare, raw = found
    if _KNOWN_HOSTS.get(host, provider) != provider:
        return None
    path = "/".join(names)
    url = f"{scheme}://{host}/{path if route is names else '/'.join(route)}"
    if provider == "github" and host == "github.com":
        raw = f"https://raw.githubusercontent.com/{path}"
    elif raw:
        raw = url + raw
    return Repository(url, host, path, names[-1], provider, commit, compare, raw)


_Found = tuple[str, list[str], list[str], str, str, str]


def _one_commit(segments: list[str], host: str) -> _Found | None:
    """Read what stands before /commit/SHA: GitLab, Azure DevOps, GitHub and all that look like GitHub."""
    if len(segments) > 2 and segments[-1] == "-":
        names = segments[:-1]
        return "gitlab", names, names, "/-/commit/{sha}", "/-/compare/{old}...{new}", "/-/raw"
    if len(segments) > 1 and segments[-2] == "_git":
        compare = "/branchCompare?baseVersion=GC{old}&targetVersion=GC{new}"
        return "azure", segments, [*segments[:-2], segments[-1]], "/commit/{sha}", compare, ""
    if host == "gitlab.com" and len(segments) > 1 and segments[-1] != "-":
        # Its older address of the same page.
        return "gitlab", segments, segments, "/-/commit/{sha}", "/-/compare/{old}...{new}", "/-/raw"
    # GitHub has an owner and a name; a Gitea below a path of its host, say, has the same shape and more names.
    provider = _KNOWN_HOSTS.get(host) or ("github" if len(segments) == 2 else "other")
    if provider not in ("github", "other") or (provider == "github" and len(segments) != 2):
        return None
    return provider, segments, segments, "/commit/{sha}", "/compare/{old}...{new}", ""


def _several_commits(segments: list[str]) -> _Found | None:
    """Read what stands before /commits/SHA: Bitbucket Data Center and Bitbucket Cloud."""
    data_center = _DATA_CENTER("/".join(segments))
    if data_center:
        compare = "/compare/commits?sourceBranch={new}&targetBranch={old}"
        return "bitbucket", segments, list(data_center.groups()), "/commits/{sha}", compare, ""
    if len(segments) == 2:
        return "bitbucket", segments, segments, "/commits/{sha}", "/branches/compare/{new}..{old}", ""
    return None
