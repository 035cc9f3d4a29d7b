"""Commit URLs: what a commit page says on each host, which page compares two commits, and what is no commit page."""

from __future__ import annotations

import re

from hostile.corpus import VALUES
from lib.commit_urls import Commit, commit_page, compare_page, parse, raw_page, same_host, same_repository

import pytest

OLD, NEW = "65827d7aa09d9d40eca4210dfeef4d162cf32c1f", "6e191a0a86cf3d264955c4910bc3b9df518c4bcd"
LONG = NEW + "0123456789abcdef01234567"

GITHUB = "https://github.com/acme-shop/cart"
ENTERPRISE = "https://github.acme.example/shop/cart"
GITEA = "https://codeberg.org/acme/cart"
GITEA_BELOW_A_PATH = "https://acme.example/git/shop/cart"
GITLAB = "https://gitlab.com/acme/cart"
NESTED = "https://gitlab.com/acme/shop/web/front/cart"
SELF_MANAGED = "https://git.acme.example:8443/shop/cart"
CLOUD = "https://bitbucket.org/acme/cart"
DATA_CENTER = "https://bitbucket.acme.example/projects/SHOP/repos/cart"
DATA_CENTER_BELOW_A_PATH = "https://acme.example:7990/bitbucket/projects/SHOP/repos/cart"
DATA_CENTER_USER = "https://bitbucket.acme.example/users/dora/repos/cart"
AZURE = "https://dev.azure.com/acme/Web%20Shop/_git/cart"
AZURE_BEYOND_ASCII = "https://dev.azure.com/acme/Caf%C3%A9%20%26%20Bar%20%28new%29/_git/cart"
VISUAL_STUDIO = "https://acme.visualstudio.com/Shop/_git/cart"
CODE_COMMIT = "https://eu-west-1.console.aws.amazon.com/codesuite/codecommit/repositories/cart"
CODE_COMMIT_CLONE = "https://git-codecommit.eu-west-1.amazonaws.com/v1/repos/cart"
SOURCEHUT = "https://git.sr.ht/~dora/cart"
AZURE_SERVER = "https://tfs.acme.example/tfs/Collection/Shop/_git/cart"

# repository page, provider, repository, between it and the sha, compare page, raw page
PAGES = {
    "github": (GITHUB, "github", "acme-shop/cart", "/commit/", "/compare/{old}...{new}", None),
    "github-enterprise": (ENTERPRISE, "github", "shop/cart", "/commit/", "/compare/{old}...{new}", ""),
    "gitea": (GITEA, "other", "acme/cart", "/commit/", "/compare/{old}...{new}", ""),
    "gitea-below-a-path": (GITEA_BELOW_A_PATH, "other", "git/shop/cart", "/commit/", "/compare/{old}...{new}", ""),
    "gitlab": (GITLAB, "gitlab", "acme/cart", "/-/commit/", "/-/compare/{old}...{new}", "/-/raw/{new}/.snyk"),
    "gitlab-nested-groups": (
        *(NESTED, "gitlab", "acme/shop/web/front/cart", "/-/commit/"),
        *("/-/compare/{old}...{new}", "/-/raw/{new}/.snyk"),
    ),
    "gitlab-self-managed": (
        *(SELF_MANAGED, "gitlab", "shop/cart", "/-/commit/"),
        *("/-/compare/{old}...{new}", "/-/raw/{new}/.snyk"),
    ),
    "bitbucket-cloud": (CLOUD, "bitbucket", "acme/cart", "/commits/", "/branches/compare/{new}..{old}", ""),
    "bitbucket-data-center": (
        *(DATA_CENTER, "bitbucket", "SHOP/cart", "/commits/"),
        *("/compare/commits?sourceBranch={new}&targetBranch={old}", ""),
    ),
    "bitbucket-data-center-below-a-path": (
        *(DATA_CENTER_BELOW_A_PATH, "bitbucket", "SHOP/cart", "/commits/"),
        *("/compare/commits?sourceBranch={new}&targetBranch={old}", ""),
    ),
    "bitbucket-data-center-user": (
        *(DATA_CENTER_USER, "bitbucket", "dora/cart", "/commits/"),
        *("/compare/commits?sourceBranch={new}&targetBranch={old}", ""),
    ),
    "azure": (
        *(AZURE, "azure", "acme/Web Shop/cart", "/commit/"),
        *("/branchCompare?baseVersion=GC{old}&targetVersion=GC{new}", ""),
    ),
    "azure-beyond-ascii": (
        *(AZURE_BEYOND_ASCII, "azure", "acme/Caf\u00e9 & Bar (new)/cart", "/commit/"),
        *("/branchCompare?baseVersion=GC{old}&targetVersion=GC{new}", ""),
    ),
    "azure-older-host": (
        *(VISUAL_STUDIO, "azure", "Shop/cart", "/commit/"),
        *("/branchCompare?baseVersion=GC{old}&targetVersion=GC{new}", ""),
    ),
    "sourcehut": (SOURCEHUT, "other", "~dora/cart", "/commit/", "/commit/{new}", ""),
    "azure-server": (
        *(AZURE_SERVER, "azure", "tfs/Collection/Shop/cart", "/commit/"),
        *("/branchCompare?baseVersion=GC{old}&targetVersion=GC{new}", ""),
    ),
}


def commit(url: str) -> Commit:
    found = parse(url)
    assert found, url
    return found


@pytest.mark.parametrize("name", PAGES)
def test_each_host_has_its_own_grammar(name: str) -> None:
    page, provider, path, word, compare, raw = PAGES[name]
    old, new = commit(page + word + OLD), commit(page + word + NEW)
    assert new.sha == NEW
    assert new.repository.url == page
    assert new.repository.path == path
    assert new.repository.name == "cart"
    assert new.repository.provider == provider
    assert commit_page(new) == page + word + NEW
    assert compare_page(old, new) == page + compare.format(old=OLD, new=NEW)
    if raw is None:
        assert raw_page(new, ".snyk") == f"https://raw.githubusercontent.com/{path}/{NEW}/.snyk"
    else:
        assert raw_page(new, ".snyk") == (page + raw.format(new=NEW) if raw else "")


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize(
    "ending",
    ["/", "///", "?at=refs%2Fheads%2Fmain", "#diff-1", "?a=b#c", "/?a=/b/c", "#/commit/" + OLD, "?x=1?y=" + OLD],
)
def test_what_follows_the_sha_says_nothing(name: str, ending: str) -> None:
    page, _, _, word, _, _ = PAGES[name]
    assert commit(page + word + NEW + ending) == commit(page + word + NEW)


@pytest.mark.parametrize(
    ("odd", "plain"),
    [
        (f"HTTPS://GitHub.COM/acme-shop/cart/commit/{NEW.upper()}", f"{GITHUB}/commit/{NEW}"),
        (f"https://github.com:443/acme-shop/cart/commit/{NEW}", f"{GITHUB}/commit/{NEW}"),
        (f"https://github.com/acme-shop/cart.git/commit/{NEW}", f"{GITHUB}/commit/{NEW}"),
        (f"https://github.com//acme-shop///cart/commit//{NEW}", f"{GITHUB}/commit/{NEW}"),
        (f"https://bitbucket.org/acme/cart/COMMITS/{NEW}", f"{CLOUD}/commits/{NEW}"),
        (f"https://BITBUCKET.acme.example/projects/SHOP/repos/cart/Commits/{NEW}", f"{DATA_CENTER}/commits/{NEW}"),
        (f"https://gitlab.com/acme/cart.git/-/commit/{NEW}", f"{GITLAB}/-/commit/{NEW}"),
        (f"https://gitlab.com/acme/cart/commit/{NEW}", f"{GITLAB}/-/commit/{NEW}"),
        (f"{DATA_CENTER}/browse/commit/{NEW}", f"{DATA_CENTER}/commits/{NEW}"),
        (f"{DATA_CENTER}/commit/{NEW}", f"{DATA_CENTER}/commits/{NEW}"),
        (f"https://bitbucket.acme.example/scm/SHOP/cart/commit/{NEW}", f"{DATA_CENTER}/commits/{NEW}"),
        (f"https://bitbucket.acme.example/scm/SHOP/cart.git/commit/{NEW}", f"{DATA_CENTER}/commits/{NEW}"),
        (
            f"https://acme.example:7990/bitbucket/scm/SHOP/cart/commit/{NEW}",
            f"{DATA_CENTER_BELOW_A_PATH}/commits/{NEW}",
        ),
        (f"https://bitbucket.acme.example/scm/~dora/cart/commit/{NEW}", f"{DATA_CENTER_USER}/commits/{NEW}"),
        (
            f"https://bitbucket.acme.example/projects/~dora/repos/cart/commits/{NEW}",
            f"{DATA_CENTER_USER}/commits/{NEW}",
        ),
        (f"{CODE_COMMIT}/commit/{NEW}", f"{CODE_COMMIT}/commit/{NEW}?region=eu-west-1"),
        (f"{CODE_COMMIT_CLONE}/commit/{NEW}", f"{CODE_COMMIT}/commit/{NEW}?region=eu-west-1"),
        (
            f"https://console.aws.amazon.com/codesuite/codecommit/repositories/cart/commit/{NEW}?region=eu-west-1",
            f"{CODE_COMMIT}/commit/{NEW}?region=eu-west-1",
        ),
        (
            f"https://dev.azure.com/acme/Caf\u00e9 & Bar (new)/_git/cart/commit/{NEW}",
            f"{AZURE_BEYOND_ASCII}/commit/{NEW}",
        ),
        (f"https://dev.azure.com/acme/Web Shop/_git/cart/commit/{NEW}", f"{AZURE}/commit/{NEW}"),
        (f"http://git.acme.example:80/shop/cart/-/commit/{NEW}", f"http://git.acme.example/shop/cart/-/commit/{NEW}"),
    ],
)
def test_one_page_has_many_addresses(odd: str, plain: str) -> None:
    assert commit(odd) == commit(plain)
    assert commit_page(commit(odd)) == plain


@pytest.mark.parametrize("owner", ["acme", "acme.git", "commit", "commits", "-", "projects", "repos", "_git"])
@pytest.mark.parametrize("name", ["commit", "commits", ".git", "cart.git.io", "a.b-c_d~e", "-", "_", OLD])
def test_a_repository_may_be_called_anything(owner: str, name: str) -> None:
    found = parse(f"https://github.com/{owner}/{name}/commit/{NEW}")
    if owner == "_git":
        assert found is None, "the shape is Azure's, the host is GitHub's"
        return
    assert found
    assert found.repository.path == f"{owner}/{name}"
    assert found.repository.name == name
    assert commit_page(found) == f"https://github.com/{owner}/{name}/commit/{NEW}"


def test_a_gitlab_repository_called_commit() -> None:
    found = commit(f"https://gitlab.com/commit/commit/-/commit/{NEW}")
    assert found.repository.path == "commit/commit"
    assert compare_page(commit(f"https://gitlab.com/commit/commit/-/commit/{OLD}"), found) == (
        f"https://gitlab.com/commit/commit/-/compare/{OLD}...{NEW}"
    )


def test_a_sha_has_40_or_64_digits() -> None:
    assert commit(f"{GITHUB}/commit/{LONG}").sha == LONG
    assert commit(f"{GITHUB}/commit/{LONG.upper()}").sha == LONG
    for length in (*range(1, 40), *range(41, 64), 65, 80, 128):
        assert parse(f"{GITHUB}/commit/{'a' * length}") is None, length


@pytest.mark.parametrize(
    ("url", "clone"),
    [
        (f"{GITHUB}/commit/", GITHUB),
        (f"{AZURE}/commit/", AZURE),
        (f"{SOURCEHUT}/commit/", SOURCEHUT),
        (f"{CODE_COMMIT}/commit/", CODE_COMMIT_CLONE),
        (f"{CODE_COMMIT_CLONE}/commit/", CODE_COMMIT_CLONE),
        (f"{DATA_CENTER}/commits/", "https://bitbucket.acme.example/scm/SHOP/cart.git"),
        ("https://bitbucket.acme.example/scm/shop/cart/commit/", "https://bitbucket.acme.example/scm/shop/cart.git"),
        (f"{DATA_CENTER_USER}/commits/", "https://bitbucket.acme.example/scm/~dora/cart.git"),
        (f"{DATA_CENTER_BELOW_A_PATH}/commits/", "https://acme.example:7990/bitbucket/scm/SHOP/cart.git"),
    ],
)
def test_where_git_can_clone_it(url: str, clone: str) -> None:
    assert commit(url + NEW).repository.clone == clone


def test_of_code_commit_nothing_is_compared() -> None:
    old, new = commit(f"{CODE_COMMIT_CLONE}/commit/{OLD}"), commit(f"{CODE_COMMIT}/commit/{NEW}")
    assert same_repository(old, new)
    assert compare_page(old, new) == commit_page(new) == f"{CODE_COMMIT}/commit/{NEW}?region=eu-west-1"


@pytest.mark.parametrize(
    ("region", "console", "git"),
    [
        ("us-gov-west-1", "console.amazonaws-us-gov.com", "amazonaws.com"),
        ("cn-north-1", "console.amazonaws.cn", "amazonaws.com.cn"),
    ],
)
def test_code_commit_in_the_other_clouds_of_amazon(region: str, console: str, git: str) -> None:
    path, clone = "codesuite/codecommit/repositories/cart", f"https://git-codecommit.{region}.{git}/v1/repos/cart"
    page = f"https://{region}.{console}/{path}/commit/{NEW}?region={region}"
    for url in (page, f"https://{console}/{path}/commit/{NEW}?region={region}", f"{clone}/commit/{NEW}"):
        assert (commit_page(commit(url)), commit(url).repository.clone) == (page, clone)
    elsewhere = f"https://{region}.console.aws.amazon.com/{path}"
    assert commit(f"{elsewhere}/commit/{NEW}").repository.clone == elsewhere, "no page leads from one into another"


def test_a_repository_of_data_center_called_browse() -> None:
    assert commit(f"https://b.example/projects/K/repos/browse/browse/commit/{NEW}").repository.path == "K/browse"
    assert commit(f"https://b.example/projects/K/repos/browse/commits/{NEW}").repository.path == "K/browse"


NO_PAGES = {
    "nothing": "",
    "a sentence": "built on my machine",
    "no page, a repository": GITHUB,
    "a git address": "git@github.com:acme-shop/cart.git",
    "ssh, from Jenkins": f"ssh://git.acme.example:7999/shop/cart/commit/{NEW}",
    "git": f"git://github.com/acme-shop/cart/commit/{NEW}",
    "ftp": f"ftp://github.com/acme-shop/cart/commit/{NEW}",
    "a file": f"file:///acme-shop/cart/commit/{NEW}",
    "a script": f"javascript://github.com/acme-shop/cart/commit/{NEW}",
    "no scheme": f"github.com/acme-shop/cart/commit/{NEW}",
    "no scheme, two slashes": f"//github.com/acme-shop/cart/commit/{NEW}",
    "one slash": f"https:/github.com/acme-shop/cart/commit/{NEW}",
    "no host": f"https:///acme-shop/cart/commit/{NEW}",
    "a token": f"https://x-access-token:s3cret@github.com/acme-shop/cart/commit/{NEW}",
    "a user": f"https://dora@github.com/acme-shop/cart/commit/{NEW}",
    "another host behind a user": f"https://github.com@evil.example/acme-shop/cart/commit/{NEW}",
    "a port that is none": f"https://github.com:/acme-shop/cart/commit/{NEW}",
    "a port in letters": f"https://github.com:https/acme-shop/cart/commit/{NEW}",
    "a back slash": f"https://github.com\\evil.example/acme-shop/cart/commit/{NEW}",
    "an owner only": f"https://github.com/cart/commit/{NEW}",
    "no repository": f"https://github.com/commit/{NEW}",
    "three names on GitHub": f"https://github.com/acme-shop/web/cart/commit/{NEW}",
    "a pull request's commit": f"{GITHUB}/pull/7/commits/{NEW}",
    "a tree": f"{GITHUB}/tree/{NEW}",
    "a comparison": f"{GITHUB}/compare/{OLD}...{NEW}",
    "the API": f"https://api.github.com/repos/acme-shop/cart/commits/{NEW}",
    "the list of commits": f"{GITHUB}/commits/{NEW}",
    "GitLab's list of commits": f"{GITLAB}/-/commits/{NEW}",
    "a merge request": f"{GITLAB}/-/merge_requests/3/diffs?commit_id={NEW}",
    "GitLab's shape on GitHub": f"{GITHUB}/-/commit/{NEW}",
    "GitLab without a group": f"https://gitlab.com/cart/-/commit/{NEW}",
    "GitLab's older address without a group": f"https://gitlab.com/cart/commit/{NEW}",
    "Bitbucket's other word": f"{CLOUD}/commit/{NEW}",
    "a short sha": f"{GITHUB}/commit/{NEW[:7]}",
    "a branch": f"{GITHUB}/commit/main",
    "HEAD": f"{GITHUB}/commit/HEAD",
    "no sha": f"{GITHUB}/commit/",
    "a sha that only the query holds": f"{GITHUB}/commit?id={NEW}",
    "a sha that only the fragment holds": f"{GITHUB}/commit#{NEW}",
    "something after the sha": f"{GITHUB}/commit/{NEW}/checks",
    "a patch": f"{GITHUB}/commit/{NEW}.patch",
    "no hexadecimal digit": f"{GITHUB}/commit/{NEW[:-1]}g",
    "full-width digits": f"{GITHUB}/commit/{NEW[:-1]}\uff11",
    "a dot": f"https://github.com/./cart/commit/{NEW}",
    "two dots": f"https://github.com/acme-shop/../commit/{NEW}",
    "two dots in GitLab's": f"https://gitlab.com/acme/../cart/-/commit/{NEW}",
    "encoded dots": f"https://github.com/acme-shop/%2e%2E/commit/{NEW}",
    "half encoded dots": f"https://github.com/acme-shop/.%2e/commit/{NEW}",
    "a space": f"https://github.com/acme-shop/my cart/commit/{NEW}",
    "a space before": f" {GITHUB}/commit/{NEW}",
    "a space behind": f"{GITHUB}/commit/{NEW} ",
    "a space in the query": f"{GITHUB}/commit/{NEW}?a b",
    "a line feed behind": f"{GITHUB}/commit/{NEW}\n",
    "a line feed in the fragment": f"{GITHUB}/commit/{NEW}#\n::error::",
    "a tab": f"https://github.com/acme\tshop/cart/commit/{NEW}",
    "a NUL": f"https://github.com/acme-shop/cart\0/commit/{NEW}",
    "an escape": f"{GITHUB}/commit/{NEW}?\x1b[31m",
    "a line separator": f"{GITHUB}/commit/{NEW}?\u2028",
    "right to left": f"{GITHUB}/commit/{NEW}?\u202e",
    "no width": f"https://github.com/acme\u200bshop/cart/commit/{NEW}",
    "a space that does not break": f"https://github.com/acme\u00a0shop/cart/commit/{NEW}",
    "braces": f"https://github.com/acme-shop/{{sha}}/commit/{NEW}",
    "shell": f"https://github.com/acme-shop/$(id)/commit/{NEW}",
    "a quote": f"https://github.com/acme-shop/cart'/commit/{NEW}",
    "Markdown": f"https://github.com/acme-shop/cart)](x)/commit/{NEW}",
    "HTML": f"https://github.com/acme-shop/<b>/commit/{NEW}",
    "right to left in a project": f"https://dev.azure.com/acme/Shop\u202e/_git/cart/commit/{NEW}",
    "right to left, encoded": f"https://dev.azure.com/acme/Shop%E2%80%AE/_git/cart/commit/{NEW}",
    "no UTF-8": f"https://dev.azure.com/acme/Shop%FF/_git/cart/commit/{NEW}",
    "a blank in a project elsewhere": f"https://gitlab.com/acme/web shop/cart/-/commit/{NEW}",
    "a slash in a project": f"https://dev.azure.com/acme/Shop%2FFront/_git/cart/commit/{NEW}",
    # re.IGNORECASE alone takes U+017F for s and U+212A for k.
    "a long s in the scheme": f"http\u017f://github.com/acme-shop/cart/commit/{NEW}",
    "a long s in the scheme, a port": f"http\u017f://github.com:443/acme-shop/cart/commit/{NEW}",
    "a Kelvin sign in the host": f"https://bitbuc\u212aet.org/acme/cart/commits/{NEW}",
    "a long s in the path": f"https://github.com/acme-\u017fhop/cart/commit/{NEW}",
    "a long s in the word": f"https://bitbucket.org/acme/cart/commit\u017f/{NEW}",
    "a host in Cyrillic": f"https://g\u0456thub.com/acme-shop/cart/commit/{NEW}",
}


@pytest.mark.parametrize("why", NO_PAGES)
def test_what_is_no_commit_page(why: str) -> None:
    assert parse(NO_PAGES[why]) is None


def test_a_project_that_is_called_anything_is_encoded_in_each_link() -> None:
    """Azure's can hold blanks and letters of all alphabets; a project that would be more than a name is none."""
    pages = [f"https://dev.azure.com/acme/{text}/_git/cart/commit/{NEW}" for text in VALUES if "/" not in text]
    projects = [found for found in map(parse, pages) if found]
    assert len(projects) > 3
    for found in projects:
        old = found._replace(sha=OLD)
        for link in (commit_page(found), compare_page(old, found), found.repository.clone):
            assert re.fullmatch(r"https://dev\.azure\.com/acme/[A-Za-z0-9._~%-]+/_git/cart[A-Za-z0-9/?=&]*", link)
        assert len(found.repository.url) > 1000 or parse(commit_page(found)) == found


def test_a_url_has_a_bound() -> None:
    longest = f"{GITHUB}/commit/{NEW}?" + "a" * 2000
    assert parse(longest[:2000]) == commit(f"{GITHUB}/commit/{NEW}")
    assert parse(longest[:2001]) is None


def test_a_port_has_16_bits() -> None:
    assert commit(f"https://git.acme.example:65535/shop/cart/commit/{NEW}")
    assert parse(f"https://git.acme.example:65536/shop/cart/commit/{NEW}") is None


@pytest.mark.parametrize(
    "url",
    [
        "https://" + "a" * 1_000_000,
        "https://a" + "/" * 1_000_000,
        "https://a" + "/commit" * 200_000 + "/" + NEW,
        "https://h" + "/commit" * 270 + "/" + NEW,
        "https://h" + "/projects/a/repos/b" * 100 + "/commits/" + NEW,
        "https://h/" + "a-" * 900 + "/commit/" + NEW + "!",
        "%2e" * 600 + "/commit/" + NEW,
    ],
    ids=range(7),
)
def test_no_url_takes_long(url: str) -> None:
    """A regular expression that goes back and forth would never end here; the test's time-out is the runner's."""
    parse(url)


def test_without_two_commits_of_one_repository_it_is_the_commit_page() -> None:
    new = commit(f"{GITHUB}/commit/{NEW}")
    elsewhere = [
        None,
        commit(f"{GITHUB}/commit/{NEW}"),
        commit(f"{GITHUB}/commit/{NEW.upper()}/"),
        commit(f"{GITLAB}/-/commit/{OLD}"),
        commit(f"{ENTERPRISE}/commit/{OLD}"),
        commit(f"https://github.com/acme-shop/basket/commit/{OLD}"),
    ]
    for old in elsewhere:
        assert compare_page(old, new) == f"{GITHUB}/commit/{NEW}"


def test_what_is_the_same_host_and_repository() -> None:
    cart = commit(f"{GITHUB}/commit/{NEW}")
    shouted = commit(f"https://github.com/ACME-Shop/Cart/commit/{OLD}")
    basket = commit(f"https://github.com/acme-shop/basket/commit/{OLD}")
    moved = commit(f"https://gitlab.com/acme-shop/cart/-/commit/{OLD}")
    plain = commit(f"http://github.com/acme-shop/cart/commit/{OLD}")
    other_port = commit(f"https://github.com:8443/acme-shop/cart/commit/{OLD}")
    assert same_host(cart, shouted)
    assert same_repository(cart, shouted), "no host tells two repositories apart by case"
    assert same_host(cart, basket)
    assert not same_repository(cart, basket)
    assert not same_host(cart, moved)
    assert not same_repository(cart, moved)
    assert same_repository(cart, plain)
    assert not same_host(cart, other_port)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("https://github.com/acme/cart/commit/", "https://www.github.com/acme/cart/commit/", True),
        ("https://git.acme.example/acme/cart/commit/", "https://www.git.acme.example/acme/cart/commit/", False),
        ("https://github.com/acme/cart/commit/", "https://github.com/acme/%63ar%74/commit/", True),
        ("https://github.com/acme/cart/commit/", "https://github.com/acme/%43ART/commit/", True),
        (
            "https://dev.azure.com/acme/Web%20Shop/_git/a/commit/",
            "https://dev.azure.com/acme/web%20shop/_git/a/commit/",
            True,
        ),
        (
            "https://dev.azure.com/acme/Web%20Shop/_git/a/commit/",
            "https://dev.azure.com/acme/WebShop/_git/a/commit/",
            False,
        ),
        ("https://b.example/projects/K/repos/r/commits/", "https://b.example/projects/k/repos/R/commits/", True),
        ("https://acme.visualstudio.com/Shop/_git/a/commit/", "https://dev.azure.com/acme/shop/_git/a/commit/", True),
        (
            "https://acme.visualstudio.com/DefaultCollection/Shop/_git/a/commit/",
            "https://dev.azure.com/acme/Shop/_git/a/commit/",
            True,
        ),
        ("https://acme.visualstudio.com/Shop/_git/a/commit/", "https://dev.azure.com/other/Shop/_git/a/commit/", False),
        (
            "https://dev.azure.com/acme/Shop K/_git/a/commit/",
            "https://dev.azure.com/acme/Shop \u212a/_git/a/commit/",
            False,
        ),
        ("https://b.example/scm/k/r/commit/", "https://b.example/projects/K/repos/R/browse/commit/", True),
        ("https://b.example/scm/~k/r/commit/", "https://b.example/users/k/repos/r/commits/", True),
        ("https://b.example/scm/~k/r/commit/", "https://b.example/projects/k/repos/r/commits/", False),
        ("https://gitlab.com/scm/k/r/commit/", "https://gitlab.com/projects/k/repos/r/commit/", False),
        ("https://b.example/projects/K/repos/r/commits/", "https://b.example/users/K/repos/r/commits/", False),
        (
            "https://b.example/test/projects/K/repos/r/commits/",
            "https://b.example/live/projects/K/repos/r/commits/",
            False,
        ),
    ],
)
def test_one_repository_is_known_by_its_address(one: str, other: str, same: bool) -> None:
    assert same_repository(commit(one + NEW), commit(other + OLD)) is same


def test_the_older_address_of_gitlab_is_the_same_repository() -> None:
    older, newer = commit(f"https://gitlab.com/acme/cart/commit/{OLD}"), commit(f"{GITLAB}/-/commit/{NEW}")
    assert same_repository(older, newer)
    assert compare_page(older, newer) == f"{GITLAB}/-/compare/{OLD}...{NEW}"
