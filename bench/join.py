"""What promotions.py prints, in plain Python with the standard library: no check, no refusal, no host but GitHub's."""

import json
import sys

PAGES = "https://app.kosli.com/acme/environments"


def side(prefix, artifact, snapshot_id):
    """Return one side of a promotion."""
    repo_url, _, sha = artifact["commit_url"].rsplit("/", 2)
    environment, number = snapshot_id.split("#")
    owner, name = repo_url.split("/")[-2:]
    return {
        **{f"{prefix}_{field}": value for field, value in artifact.items()},
        f"{prefix}_commit_sha": sha,
        f"{prefix}_repo_url": repo_url,
        f"{prefix}_repository": f"{owner}/{name}",
        f"{prefix}_repo_name": name,
        f"{prefix}_repo_provider": "github",
        f"{prefix}_clone_url": repo_url,
        f"{prefix}_raw_snyk_policy_url": f"https://raw.githubusercontent.com/{owner}/{name}/{sha}/.snyk",
        f"{prefix}_snapshot_id": snapshot_id,
        f"{prefix}_snapshot_url": f"{PAGES}/{environment}/snapshots/{number}?fingerprint={artifact['fingerprint']}",
    }


diff = json.load(sys.stdin)
beta, prod = diff["snappish1"], diff["snappish2"]
replaced = {artifact["flow"]: artifact for artifact in prod["artifacts"]}
release = []
for artifact in sorted(beta["artifacts"], key=lambda artifact: (artifact["flow"], artifact["name"])):
    incoming = side("incoming", artifact, beta["snapshot_id"])
    if artifact["flow"] in replaced:
        outgoing = side("outgoing", replaced[artifact["flow"]], prod["snapshot_id"])
        shas = f"{outgoing['outgoing_commit_sha']}...{incoming['incoming_commit_sha']}"
        link = f"{incoming['incoming_repo_url']}/compare/{shas}"
    else:
        outgoing = {key.replace("incoming", "outgoing"): "" for key in incoming}
        link = artifact["commit_url"]
    release.append({**incoming, **outgoing, "deployment_diff_url": link})
sys.stdout.write(json.dumps(release, indent=2) + "\n")
