"""Commit pages: from a URL that anybody may have reported to a repository, a sha and a compare page.

A commit URL is read from its end, by the shape of its path. The host decides only what a shape leaves open.
"""

import re
from functools import cache
from typing import NamedTuple
from urllib.parse import quote, unquote, unquote_to_bytes


class Repository(NamedTuple):
    """A repository on a host, and the grammar of that host's pages."""

    url: str  # https://github.com/cyber-dojo/saver
    host: str  # github.com, with a port that is not the scheme's own
    path: str  # cyber-dojo/saver: the names only, without the host's own words (projects, repos, _git, -)
    name: str  # saver
    provider: str  # github, gitlab, bitbucket, azure or other
    commit: str  # the rest of a commit page's URL, with {sha}
    compare: str  # the rest of a compare page's URL, with {old} and {new}; "" where the host has no such page
    raw: str  # the URL before /SHA/FILE of a file's text at a commit; "" where the host has no such page
    clone: str  # where git can clone it


class Commit(NamedTuple):
    """A commit of a repository."""

    sha: str
    repository: Repository


class _Reported(NamedTuple):
    """What stands before /commit/SHA, or /commits/SHA, in a URL."""

    scheme: str
    host: str
    segments: list[str]


NOT_KNOWN = Commit("", Repository(*[""] * len(Repository._fields)))
LONGEST_URL = 2000  # what every browser takes

_SHA = re.compile(r"[0-9a-fA-F]{40}(?:[0-9a-fA-F]{24})?").fullmatch
# The scheme, the host, its port, the path, commit or commits.
_HEAD = re.compile(
    r"((?i:https?))://([a-zA-Z0-9.-]+|\[[0-9a-fA-F:]+\])(?::([0-9]+))?(/[^?#\\]+)/((?i:commits?))", re.ASCII
).fullmatch
_PATH = re.compile(r"[a-zA-Z0-9._~%+/-]+").fullmatch
# Azure DevOps has projects with a blank, &, parentheses or letters beyond ASCII. Kosli's CLI reports them as they are.
_AZURE_PATH = re.compile(r"(?:[a-zA-Z0-9._~%+/ &()'!@,-]|[^\x00-\x7f])+").fullmatch
# Segments that mean another path: dots, and encoded dots, slashes and control characters.
_MISLEADING = re.compile(r"/(?:\.|%2e){1,2}(?:/|$)|%(?:2f|5c|7f|[01][^/])", re.IGNORECASE | re.ASCII).search
_DATA_CENTER = re.compile(r"(.*/)?(projects|users)/([^/]+)/repos/([^/]+)(?:/browse)?").fullmatch
_DATA_CENTER_CLONE = re.compile(r"(.*/)?(scm)/([^/]+)/([^/]+)").fullmatch
_CODE_COMMIT = re.compile(r"([a-z0-9-]+)\.(console\.[a-z.-]+)/codesuite/codecommit/repositories/([^/]+)").fullmatch
_CODE_COMMIT_CLONE = re.compile(r"git-codecommit\.([a-z0-9-]+)\.(amazonaws\.[a-z.]+)/v1/repos/([^/]+)").fullmatch
# AWS is three clouds. How a region's name begins says which, and so where its console and its git are.
_AWS = {
    "us-gov-": ("console.amazonaws-us-gov.com", "amazonaws.com"),
    "cn-": ("console.amazonaws.cn", "amazonaws.com.cn"),
    "": ("console.aws.amazon.com", "amazonaws.com"),
}
_CONSOLES = tuple(f"https://{console}/" for console, _ in _AWS.values())
_REGION = re.compile(r"[?&]region=([a-z0-9-]+)").search
_VISUAL_STUDIO = re.compile(r"([^./]+)\.visualstudio\.com(?:/defaultcollection(?=/|$))?").match
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
    page = url.partition("#")[0].partition("?")[0]
    head, _, sha = page.rstrip("/").rpartition("/")
    if not _SHA(sha) or len(url) > LONGEST_URL or not url.isprintable() or " " in url[len(page) :]:
        return None
    if head.startswith(_CONSOLES) and (region := _REGION(url)):
        head = head.replace("//", f"//{region[1]}.", 1)
    repository = _repository(head)
    return Commit(sha.lower(), repository) if repository else None


def commit_page(commit: Commit) -> str:
    """Return the URL of the page that shows one commit."""
    sha, repository = commit
    return repository.url + repository.commit.replace("{sha}", sha)


def compare_page(old: Commit | None, new: Commit) -> str:
    """Return the URL of the page that shows what came between two commits, in the grammar of their host.

    Without two commits of one repository, or on a host that compares none, it is the page of the new one.
    """
    sha, repository = new
    if old is None or old.sha == sha or not repository.compare or not same_repository(old, new):
        return commit_page(new)
    return repository.url + repository.compare.replace("{old}", old.sha).replace("{new}", sha)


def raw_page(commit: Commit, file: str) -> str:
    """Return the URL of a file's text at a commit, "" where the host has no such page."""
    sha, repository = commit
    return f"{repository.raw}/{sha}/{file}" if repository.raw else ""


def same_host(one: Commit, other: Commit) -> bool:
    """Say whether two commits are on one host."""
    return address(one.repository.url).partition("/")[0] == address(other.repository.url).partition("/")[0]


def same_repository(one: Commit, other: Commit) -> bool:
    """Say whether two commits are in one repository."""
    return one.repository is other.repository or address(one.repository.url) == address(other.repository.url)


def address(url: str) -> str:
    """Return what a repository is known by: no host tells two apart by their scheme, case or percent-encoding.

    Only the case of ASCII letters says nothing: beyond them, the small form of one letter can be another letter.
    """
    host_and_path = url.rpartition("://")[2].encode(errors="surrogatepass")
    decoded = unquote_to_bytes(host_and_path).lower().decode(errors="backslashreplace")
    # The older host of Azure DevOps shows the same repositories.
    older = _VISUAL_STUDIO(decoded)
    return f"dev.azure.com/{older[1]}{decoded[older.end() :]}" if older else decoded


@cache
def _repository(head: str) -> Repository | None:
    """Return the repository of a commit URL without its /sha, None when it is of none."""
    match = _HEAD(head.rstrip("/"))
    if not match:
        return None
    scheme, host, port, path, word = match.groups()
    several = word.lower() == "commits"
    scheme, host = scheme.lower(), host.lower()
    if host.removeprefix("www.") in _KNOWN_HOSTS:
        host = host.removeprefix("www.")
    if port and port != _DEFAULT_PORTS[scheme]:
        host = f"{host}:{port}"
    segments = [segment for segment in path.split("/") if segment]
    if not segments or _MISLEADING(path) or int(port or 0) > 65535:
        return None
    if segments[-2:-1] == ["_git"] and not several:
        readers, allowed = [_azure], _AZURE_PATH
    else:
        readers, allowed = [_bitbucket_cloud if several else _one_commit], _PATH
        if host not in _KNOWN_HOSTS:
            readers = [_data_center, _code_commit, *readers]
    if not allowed(path):
        return None
    last = -2 if segments[-1] in ("-", "browse") and len(segments) > 2 else -1
    segments[last] = segments[last].removesuffix(".git") or segments[last]
    reported = _Reported(scheme, host, segments)
    repository = next(filter(None, (read(reported) for read in readers)), None)
    return repository if repository and _KNOWN_HOSTS.get(host, repository.provider) == repository.provider else None


def _azure(reported: _Reported) -> Repository | None:
    """Read what stands before /commit/SHA on Azure DevOps and its server: [COLLECTION/]PROJECT/_git/NAME."""
    names = [unquote(segment) for segment in reported.segments]
    if not all(name.isprintable() and "\ufffd" not in name for name in names):
        return None
    compare = "/branchCompare?baseVersion=GC{old}&targetVersion=GC{new}"
    reported = reported._replace(segments=[quote(name, safe="+") for name in names])
    return _of(reported, "azure", "/commit/{sha}", compare)._replace(
        path="/".join([*names[:-2], names[-1]]), name=names[-1]
    )


def _data_center(reported: _Reported) -> Repository | None:
    """Read the page of a repository on Bitbucket Data Center, or the address where it is cloned: two for each."""
    route = "/".join(reported.segments)
    match = _DATA_CENTER(route) or _DATA_CENTER_CLONE(route)
    if not match:
        return None
    before, kind, owner, name = match.groups("")
    personal = kind == "users" or owner.startswith("~")
    owner = owner.removeprefix("~") if personal else owner
    base = f"{reported.scheme}://{reported.host}/{before}"
    return Repository(
        url=f"{base}{'users' if personal else 'projects'}/{owner}/repos/{name}",
        host=reported.host,
        path=f"{owner}/{name}",
        name=name,
        provider="bitbucket",
        commit="/commits/{sha}",
        compare="/compare/commits?sourceBranch={new}&targetBranch={old}",
        raw="",
        clone=f"{base}scm/{'~' if personal else ''}{owner}/{name}.git",
    )


def _code_commit(reported: _Reported) -> Repository | None:
    """Read the page of a repository in the console of AWS, or the address where it is cloned. Nothing is compared."""
    route = "/".join([reported.host, *reported.segments])
    match = _CODE_COMMIT(route) or _CODE_COMMIT_CLONE(route)
    if not match:
        return None
    region, domain, name = match.groups()
    console, git = next(domains for start, domains in _AWS.items() if region.startswith(start))
    if domain not in (console, git):
        return None
    host = f"{region}.{console}"
    return Repository(
        url=f"{reported.scheme}://{host}/codesuite/codecommit/repositories/{name}",
        host=host,
        path=name,
        name=name,
        provider="other",
        commit=f"/commit/{{sha}}?region={region}",
        compare="",
        raw="",
        clone=f"{reported.scheme}://git-codecommit.{region}.{git}/v1/repos/{name}",
    )


def _bitbucket_cloud(reported: _Reported) -> Repository | None:
    """Read what stands before /commits/SHA."""
    if len(reported.segments) != 2:
        return None
    return _of(reported, "bitbucket", "/commits/{sha}", "/branches/compare/{new}..{old}")


def _one_commit(reported: _Reported) -> Repository | None:
    """Read what stands before /commit/SHA: GitLab, GitHub, sourcehut and all that look like GitHub."""
    segments, host = reported.segments, reported.host
    if len(segments) > 2 and segments[-1] == "-":
        reported = reported._replace(segments=segments[:-1])
        return _of(reported, "gitlab", "/-/commit/{sha}", "/-/compare/{old}...{new}", "/-/raw")
    if host == "gitlab.com" and len(segments) > 1 and segments[-1] != "-":
        # Its older address of the same page.
        return _of(reported, "gitlab", "/-/commit/{sha}", "/-/compare/{old}...{new}", "/-/raw")
    if host not in _KNOWN_HOSTS and len(segments) == 2 and segments[0].startswith("~"):
        return _of(reported, "other", "/commit/{sha}", "")
    # GitHub has an owner and a name; a Gitea below a path of its host, say, has the same shape and more names.
    provider = _KNOWN_HOSTS.get(host) or ("github" if len(segments) == 2 else "other")
    if provider not in ("github", "other") or (provider == "github" and len(segments) != 2):
        return None
    repo = _of(reported, provider, "/commit/{sha}", "/compare/{old}...{new}")
    return repo._replace(raw=f"https://raw.githubusercontent.com/{repo.path}") if host == "github.com" else repo


def _of(reported: _Reported, provider: str, commit: str, compare: str, raw: str = "") -> Repository:
    """Return a repository whose page is where it is cloned."""
    path = "/".join(reported.segments)
    url = f"{reported.scheme}://{reported.host}/{path}"
    name = reported.segments[-1]
    return Repository(url, reported.host, path, name, provider, commit, compare, raw and url + raw, url)
