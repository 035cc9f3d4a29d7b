"""A service's pipeline on the stage of a rehearsal: it calls the release's attest-build.yml, as it would on GitHub.

Its checkout (pipeline/) is another repository's. The workflow that it calls comes from the stage's scratch checkout.
"""

import shutil

from rehearsal.stage import HERE, REPOSITORY, ROOT, Run, Stage, commit_all, load

SERVICE = "example/saver"


def run_pipeline(stage: Stage, fingerprint: str, commit: str, scan: str, run_id: int = 501) -> Run:
    """Run the pipeline that builds an artifact from a commit, with one of the scans of fixtures/evidence."""
    checkout = stage.props / "pipeline"
    shutil.rmtree(checkout, ignore_errors=True)
    shutil.copytree(HERE / "pipeline", checkout)
    commit_all(checkout, SERVICE)
    shutil.copy(ROOT / "fixtures/evidence" / scan, stage.props / "scan.sarif")
    called = load(checkout / ".github/workflows/pipeline.yml")["jobs"]["evidence"]["uses"]
    return stage.run(
        "pipeline.yml",
        inputs={"fingerprint": fingerprint, "commit": commit},
        run_id=run_id,
        checkout=checkout,
        repositories={f"{REPOSITORY}@{called.rpartition('@')[2]}": stage.checkout},
    )
