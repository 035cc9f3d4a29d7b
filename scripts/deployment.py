#!/usr/bin/env python3
"""Say how one promotion is deployed, in the job that deploys it.

stdin   a promotion, as a workflow's matrix has it (jq/matrix.jmespath)
stdout  nothing, or without GITHUB_OUTPUT what would be appended to that file:
          role=...         the cloud role to take, with {repo_name} filled in
          region=...       the cloud region
          environment=...  the environment in Kosli that is deployed into
          image=...        the image by its digest, in the registry that deploy.registry says
          gitlab=...       the address that GITLAB_TOKEN may be sent to; empty when the repository is elsewhere
          sources=...      yes when SOURCES_TOKEN may be sent to the repository's host, otherwise empty
exit    0 done, 1 refused: its code is below none of the sources, or its name cannot be deployed, 2 not a promotion, or
        one whose keys do not follow from its commit URL
reads   SOURCES DEPLOY_ROLE DEPLOY_REGION DEPLOY_GITLAB_URL DEPLOY_REGISTRY CHANGES_TOKEN_HOST TO_ENV

    scripts/deployment.py <promotion.json
"""

from lib.commit_urls import parse
from lib.model import Deployable
from lib.outputs import append_outputs
from lib.releases import derived
from lib.rules import (
    cause_in_name,
    cause_in_source,
    deploys_from_other_registry,
    environment_of,
    is_below,
    last_part,
    place,
    registry_of,
)
from lib.settings import settings
from lib.streams import Refused, Unusable, no_arguments, read_document, run, typed


def outputs(promotion: Deployable) -> dict[str, str]:
    """Return the lines for $GITHUB_OUTPUT. Raises Refused for what must not be deployed."""
    deploy, to = settings().deploy, environment_of(settings().environments[1])
    commit = parse(promotion.incoming_commit_url)
    cause = cause_in_source(commit) if commit else "its commit URL is no commit page"
    if not promotion.incoming_name.isprintable():
        cause = cause or "its name holds a character that cannot be shown, as no image's name does"
    if not last_part(promotion.incoming_name):
        cause = cause or "its name says no image that could be deployed by its digest"
    if cause := cause or cause_in_name(promotion.incoming):
        raise Refused(f"{place(to, promotion.incoming)}: {cause}")
    assert commit, "it has no cause"
    image = promotion.incoming_name.partition("@")[0]
    if promotion.outgoing_name and deploys_from_other_registry(promotion.incoming_snapshot_id, to):
        # Without its tag, which may be another image's there.
        image = "/".join(filter(None, (registry_of(promotion.outgoing_name), last_part(image))))
    url = commit.repository.url
    return {
        "role": deploy.role.replace("{repo_name}", commit.repository.name),
        "region": deploy.region,
        "environment": to,
        "image": f"{image}@sha256:{promotion.incoming_fingerprint}",
        "gitlab": deploy.gitlab_url if is_below(url, deploy.gitlab_url) else "",
        "sources": "yes" if commit.repository.host == settings().changes.token_host.lower() else "",
    }


def main(argv: list[str]) -> int:
    no_arguments(__doc__, argv)
    document = read_document()
    promotion = typed(document, Deployable, "stdin is not a promotion")
    # What deploy.yml checks out stands in these keys.
    for key, value in derived(parse(promotion.incoming_commit_url)).items():
        if document.get(f"incoming_{key}", value) != value:
            raise Unusable(f"stdin: incoming_{key} does not follow from the commit URL: {value}")
    append_outputs(outputs(promotion))
    return 0


if __name__ == "__main__":
    run(main)
