#!/usr/bin/env python3
"""Tell Kosli what runs in ENVIRONMENT now: one more snapshot, if that has changed.

stdout  {"environment", "type"}; with --matrix instead of ENVIRONMENT, what release.toml records:
        [{"environment", "role", "region", "runner"}, ...], and Kosli is told nothing
exit    0 done, 2 wrong usage or settings, 3 Kosli could not record it, or what runs could not be seen
reads   [record.ENVIRONMENT] of release.toml: its type, the same as in Kosli, and what belongs to it. ENVIRONMENT_TYPE
        and RECORDED, which holds the same separated by commas, win over that table.
          type               key
          ecs (the default)  clusters; needed
          k8s                namespaces; all by default
          lambda             functions, by name; all by default
          docker             all containers of this machine
          server             paths of the artifacts on this machine; needed. Kosli names /srv/App.jar /srv/app_jar
          s3                 bucket; needed
          azure              resource_group; needed
          cloud-run          project, as PROJECT/REGION; needed
        KUBECONFIG AWS_... GOOGLE_... KOSLI_AZURE_...: what the cloud asks for; and KOSLI_...

    RECORDED=beta scripts/record.py aws-beta
"""

import os
import tempfile

from lib.kosli import tell
from lib.processes import stop_on_signals
from lib.settings import Record, environment_name, settings, this_run
from lib.streams import Arguments, Unusable, printable, run, to_json, write_json

# The key of what is recorded, its flag, and whether it must be given: without it an ecs environment would be every
# cluster of the account, and two environments in one account would be the same.
TYPES = {
    "ecs": ("clusters", "--clusters", True),
    "k8s": ("namespaces", "--namespaces", False),
    "lambda": ("functions", "--function-names", False),
    "docker": ("", "", False),
    "server": ("paths", "--paths-file", True),
    "s3": ("bucket", "--bucket", True),
    "azure": ("resource_group", "--azure-resource-group-name", True),
    "cloud-run": ("project", "--project", True),
}
# What the CLI needs to look into a cloud: the role that was taken, and where.
PASSED = (
    *("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_REGION", "AWS_DEFAULT_REGION"),
    *("AWS_PROFILE", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "AWS_ROLE_ARN", "AWS_ROLE_SESSION_NAME"),
    *("AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI"),
    *("AWS_CONTAINER_AUTHORIZATION_TOKEN", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "AWS_CA_BUNDLE"),
    *("DOCKER_HOST", "DOCKER_CONFIG", "KUBECONFIG", "GOOGLE_APPLICATION_CREDENTIALS"),
    *("KOSLI_AZURE_CLIENT_ID", "KOSLI_AZURE_CLIENT_SECRET", "KOSLI_AZURE_TENANT_ID", "KOSLI_AZURE_SUBSCRIPTION_ID"),
)
# The CLI has an empty HOME: what it would have found in the user's is named.
OF_THE_USER = {
    "AWS_CONFIG_FILE": "~/.aws/config",
    "AWS_SHARED_CREDENTIALS_FILE": "~/.aws/credentials",
    "KUBECONFIG": "~/.kube/config",
    "DOCKER_CONFIG": "~/.docker",
    "GOOGLE_APPLICATION_CREDENTIALS": "~/.config/gcloud/application_default_credentials.json",
}


def command(environment: str, kind: str, recorded: str, folder: str) -> list[str]:
    """Return the arguments of the kosli command. Raises Unusable for what does not belong together."""
    key, flag, needed = TYPES[kind]
    if needed and not recorded:
        raise Unusable(f"record.{environment}.{key} (or RECORDED) is not set: an environment of type {kind} needs it")
    if recorded and not flag:
        raise Unusable(f"RECORDED: an environment of type {kind} takes none")
    if (
        recorded.startswith("-")
        or (recorded and "" in recorded.split(","))
        or (kind == "cloud-run" and recorded.count("/") != 1)
    ):
        raise Unusable(f"{printable(recorded)} cannot be recorded")
    if kind == "server":
        # The CLI runs in a folder of its own, so each path is made absolute here. It splits a name at its dots, and
        # writes it in lower case.
        paths = {os.path.abspath(path) for path in recorded.split(",")}
        artifacts = {path.replace(".", "_").lower(): {"path": path} for path in sorted(paths)}
        if len(artifacts) < len(paths):
            raise Unusable(f"{printable(recorded)}: Kosli would give two of these paths one name: rename one of them")
        recorded = os.path.join(folder, "paths.json")
        with open(recorded, "wb") as file:
            file.write(to_json({"version": 1, "artifacts": artifacts}))
        return ["snapshot", "paths", environment, flag, recorded]
    if kind == "cloud-run":
        project, _, region = recorded.partition("/")
        return ["snapshot", kind, environment, flag, project, "--region", region]
    flags = [flag, recorded] if recorded else []
    if kind == "k8s" and (configuration := os.environ.get("KUBECONFIG")):
        flags += ["--kubeconfig", os.path.abspath(configuration)]
    return ["snapshot", kind, environment, *flags]


def name_files_of_the_user() -> None:
    """Name in this process's own environment the files of the user's that are there, unless others are named."""
    for name, path in OF_THE_USER.items():
        if not os.environ.get(name) and os.path.exists(os.path.expanduser(path)):
            os.environ[name] = os.path.expanduser(path)


def what_to_record(environment: str) -> tuple[str, str]:
    """Return an environment's type, and what belongs to it, separated by commas."""
    table = settings().record.get(environment, Record())
    kind = this_run().environment_type or table.type
    if kind not in TYPES:
        raise Unusable(f"{printable(kind)} is no type of an environment; one of: {', '.join(TYPES)}")
    value = getattr(table, TYPES[kind][0]) if TYPES[kind][0] else ""
    return kind, this_run().recorded or (value if isinstance(value, str) else ",".join(value))


def main(argv: list[str]) -> int:
    arguments = Arguments(__doc__)
    arguments.add_argument("environment", metavar="ENVIRONMENT")
    if argv == ["--matrix"]:
        write_json(
            [
                {"environment": name, "role": table.role, "region": table.region, "runner": table.runner}
                for name, table in settings().record.items()
            ]
        )
        return 0
    environment = environment_name(arguments.parse_args(argv).environment)
    kind, recorded = what_to_record(environment)
    name_files_of_the_user()
    with tempfile.TemporaryDirectory() as folder:
        told = command(environment, kind, recorded, folder)
        stop_on_signals()
        tell(*told, passing=PASSED)
    write_json({"environment": environment, "type": kind})
    return 0


if __name__ == "__main__":
    run(main)
