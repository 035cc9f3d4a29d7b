"""The pages tell the truth: commands end as they say, links lead somewhere, and the reference is current."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import reference
from conftest import REAL_CLI, ROOT, environment

import pytest

DOCS = ROOT / "docs"
PAGES = sorted(
    [*ROOT.glob("*.md"), *DOCS.glob("*.md"), *(ROOT / folder / "README.md" for folder in ("fixtures", "jq"))]
)

# Commands stand in a table with the columns "try it" and "exit", or in a console block, where "$ " begins them and a
# line "# exit N" follows one that fails. A page runs in one shell, top down, on a Kosli that runs on this machine. A
# shell block is for what the tests cannot reach: it is only parsed.


def commands(page: Path) -> list[tuple[str, int]]:
    found: list[tuple[str, int]] = []
    inside, heads = "", [""]
    for line in page.read_text().splitlines():
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if line.startswith("```"):
            inside = "" if inside else line
        elif inside == "```console" and line.startswith("# exit "):
            found[-1] = (found[-1][0], int(line.removeprefix("# exit ")))
        elif inside == "```console":
            assert line.startswith("$ "), line
            found.append((line.removeprefix("$ "), 0))
        elif not cells:
            heads = [""]
        elif heads == [""]:
            heads = cells
        elif "try it" in heads and not cells[0].startswith("---"):
            command = cells[heads.index("try it")].strip("`").replace("\\|", "|")
            found.append((command, int(cells[heads.index("exit")])))
    return found


@pytest.mark.parametrize(("name", "at_least"), [("set-up.md", 4), ("how-it-decides.md", 40), ("inputs.md", 20)])
def test_every_command_ends_as_the_page_says(name: str, at_least: int, tmp_path: Path) -> None:
    wanted = commands(DOCS / name)
    assert len(wanted) >= at_least
    lines = [". fixtures/use-service settled"]
    for index, (command, _) in enumerate(wanted):
        lines += [f"{{ {command}", f"}} >{tmp_path}/stdout 2>{tmp_path}/stderr-{index}"]
        lines += [f'echo "$?" >>{tmp_path}/codes']
    subprocess.run(
        ["bash", "-o", "pipefail", "-c", "\n".join(lines)],
        cwd=ROOT,
        env=environment(tmp_path, TMPDIR=str(tmp_path)),
        stdin=subprocess.DEVNULL,
        timeout=120,
        check=False,
    )
    codes = [int(line) for line in (tmp_path / "codes").read_text().split()]
    assert len(codes) == len(wanted)
    wrong = []
    for index, (command, exit_code) in enumerate(wanted):
        stderr = (tmp_path / f"stderr-{index}").read_text()
        if codes[index] != exit_code or re.search(r"Traceback|command not found|No such file", stderr):
            wrong.append(f"{command}: exit {codes[index]}: {stderr}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_a_page_names_is_there(page: Path) -> None:
    text = page.read_text()
    for path in re.findall(r"\b(?:fixtures|scripts|docs|jq|tests)/[a-z0-9_/-]+\.(?:json|txt|py|md|jmespath)", text):
        assert (ROOT / path).exists(), path
    for target, anchor in re.findall(r"\]\(((?!http)[^)#]*)(?:#([^)]*))?\)", text):
        path = (page.parent / target).resolve() if target else page
        assert path.exists(), target
        assert path.is_relative_to(ROOT)
        heads = re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE) if anchor else []
        anchors = {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}
        assert not anchor or anchor in anchors, f"{target}#{anchor}"
    for block in re.findall(r"^```shell\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        assert not subprocess.run(["bash", "-n"], input=block, capture_output=True, text=True).stderr
    for block in re.findall(r"^```json\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        json.loads(block)


def test_the_settings_that_set_up_shows_are_settings(tmp_path: Path) -> None:
    shown = re.findall(r"^```toml\n(.*?)^```", (DOCS / "set-up.md").read_text(), re.MULTILINE | re.DOTALL)
    (tmp_path / "release.toml").write_text(shown[0])
    done = subprocess.run(
        ["scripts/settings.py"],
        cwd=ROOT,
        env=environment(tmp_path, SETTINGS=str(tmp_path / "release.toml")),
        capture_output=True,
    )
    assert (done.returncode, done.stderr) == (0, b"")


# Nobody's account, and a state on this machine.
NO_ACCOUNT = """
terraform {
  backend "local" {}
}

provider "aws" {
  access_key                  = "none"
  secret_key                  = "none"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_requesting_account_id  = true
}
"""
TASK = 'resource "terraform_data" "saver" { input = local.container_definitions }\n'


@pytest.mark.skipif(not shutil.which("terraform"), reason="there is no terraform")
@pytest.mark.parametrize("whole", [True, False], ids=["with Amazon's provider", "without a provider"])
def test_a_plan_of_the_example_deploys_the_image_that_deploy_yml_gives_it(tmp_path: Path, whole: bool) -> None:
    """Where Amazon's provider cannot be had, a resource without one takes what its task definition would get."""
    shutil.copytree(ROOT / "examples/deployment/terraform", tmp_path, dirs_exist_ok=True)
    if whole:
        (tmp_path / "here_override.tf").write_text(NO_ACCOUNT)
    else:
        assert "= local.container_definitions\n" in (tmp_path / "main.tf").read_text()
        (tmp_path / "main.tf").write_text(TASK)
    fingerprint = "b3237b0e" * 8
    variables = environment(tmp_path, EXAMPLES=str(ROOT / "examples"), PATH=os.environ["PATH"], TF_INPUT="false")
    begun = subprocess.run(["terraform", "init"], cwd=tmp_path, env=variables, capture_output=True, text=True)
    if whole and "could not connect to registry.terraform.io" in " ".join(begun.stderr.split()):
        pytest.skip("Terraform's registry, which has Amazon's provider, cannot be reached")
    assert begun.returncode == 0, begun.stderr
    line = f"""
      terraform fmt -check -recursive "$EXAMPLES"
      terraform plan -var=TAGGED_IMAGE=registry/saver:6e191a0@sha256:{fingerprint} -var=ENVIRONMENT=aws-prod -out=plan
      terraform show -json plan >plan.json
    """
    subprocess.run(["bash", "-e", "-c", line], cwd=tmp_path, env=variables, check=True)
    check = [ROOT / "scripts" / "planned_image.py"]
    plan = (tmp_path / "plan.json").read_bytes()
    for wanted, code in ((fingerprint, 0), ("0" * 64, 1)):
        done = subprocess.run(check, env={**variables, "FINGERPRINT": wanted}, input=plan, check=False)
        assert done.returncode == code


@pytest.mark.skipif(not REAL_CLI.exists(), reason="the real CLI is not installed: npm ci --prefix kosli")
def test_the_real_cli_takes_each_command_that_set_up_gives_it(tmp_path: Path) -> None:
    """In a dry run it reads the command and its files, and says what it would send."""
    page = (DOCS / "set-up.md").read_text()
    policy = re.search(r"^```yaml\n(_schema.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert policy
    (tmp_path / "policy.yml").write_text(policy[1])
    variables = environment(tmp_path, KOSLI_ORG="acme-shop", KOSLI_API_TOKEN="none", KOSLI_DRY_RUN="true")
    variables["PATH"] = f"{REAL_CLI.parent}:{variables['PATH']}"
    commands = re.findall(r"^kosli .*", page, re.MULTILINE)
    assert len(commands) > 5
    for command in commands:
        done = subprocess.run(["bash", "-c", command], cwd=tmp_path, env=variables, capture_output=True, text=True)
        assert "this is the payload that would be sent in a real run" in done.stdout + done.stderr, command


def test_the_docs_are_short() -> None:
    pages = [page for page in DOCS.glob("*.md") if page != reference.PAGE]
    assert sum(len(page.read_text().splitlines()) for page in pages) <= 700


def test_the_reference_is_current() -> None:
    assert reference.PAGE.read_text() == reference.reference(), "make reference"


def test_the_reference_leaves_nothing_out() -> None:
    text = reference.PAGE.read_text()
    scripts = [f"### scripts/{path.name}\n" for path in (ROOT / "scripts").glob("*.py")]
    targets = re.findall(r"^\.PHONY: ([a-z-]+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    targets = [f"| `make {target}` |" for target in targets if target != "known-names"]
    queries = [f"| `{path.stem}` |" for path in (ROOT / "jq").glob("*.jmespath")]
    assert not [name for name in (*scripts, *targets, *queries) if name not in text]
    assert min(map(len, (scripts, targets, queries))) > 10
