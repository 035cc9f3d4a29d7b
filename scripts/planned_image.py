#!/usr/bin/env python3
"""Check that a Terraform plan deploys the approved artifact: its resources hold the fingerprint.

A service's Terraform can take the image from somewhere else than TAGGED_IMAGE. So this reads the plan's
`planned_values`, which hold the values of all resources. A value that only the apply finds out is not among them, and
counts as missing.

stdin   the plan: terraform show -json PLAN
stdout  nothing
exit    0 it does, 1 it does not, 2 not a plan, or no FINGERPRINT
reads   FINGERPRINT

    terraform show -json release.tfplan | FINGERPRINT=b323... scripts/planned_image.py
"""

from collections.abc import Iterator
from typing import Any

from lib.model import Plan, PlannedModule
from lib.settings import sha256, this_run
from lib.streams import Refused, no_arguments, read_document, run, typed


def planned(module: PlannedModule) -> Iterator[Any]:
    """Yield the values of what a module and those below it will make."""
    yield from (resource.values for resource in module.resources if resource.mode == "managed")
    for below in module.child_modules:
        yield from planned(below)


def texts(value: Any) -> list[str]:
    """Return every text in a JSON document, but no key."""
    strings, rest = [], [value]
    while rest:
        value = rest.pop()
        if isinstance(value, str):
            strings.append(value)
        elif isinstance(value, dict | list):
            rest += value.values() if isinstance(value, dict) else value
    return strings


def main(argv: list[str]) -> int:
    no_arguments(__doc__, argv)
    fingerprint = sha256("FINGERPRINT", this_run().fingerprint)
    plan = typed(read_document(), Plan, "stdin is not a Terraform plan (terraform show -json)")
    values = list(planned(plan.planned_values.root_module))
    if not any(f"sha256:{fingerprint}" in text for text in texts(values)):
        raise Refused(
            f"no resource of the plan holds sha256:{fingerprint}: the service's Terraform must deploy the image "
            "that the variable TAGGED_IMAGE names"
        )
    return 0


if __name__ == "__main__":
    run(main)
