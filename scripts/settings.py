#!/usr/bin/env python3
"""Say which settings there are, and their values here.

stdout  {"NAME": value, ..., "record": {...}}: each setting under the name of its variable, and what [record.NAME] of
        release.toml says; with --help-for-make, lines for people
exit    0 done, 2 wrong settings: every cause, with the nearest name

    GATE_JOBS=4 scripts/settings.py
"""

from lib.settings import FOR_MAKE, READ_TOO, Settings, ThisRun, declared, refuse_unknown_names, settings, this_run
from lib.streams import Arguments, run, write, write_json

import msgspec


def for_make() -> str:
    """Return the list of make help: the settings of release.toml, those of one run, the rest."""
    parts = {
        "Settings (make NAME=value, the environment, or the key in release.toml)": [
            (s.variable, f"{s.help} [{'.'.join(filter(None, (s.table, s.key)))}]") for s in declared(Settings)
        ],
        "For one run (make NAME=value, or the environment)": [(s.variable, s.help) for s in declared(ThisRun)],
        "Read beside these, never from a file": list(READ_TOO.items()),
        "For make itself": list(FOR_MAKE.items()),
    }
    return "".join(
        f"\n{title}\n" + "".join(f"  {name:<23} {text}\n" for name, text in lines) for title, lines in parts.items()
    )


def main(argv: list[str]) -> int:
    arguments = Arguments(__doc__)
    arguments.add_argument("--help-for-make", action="store_true")
    help_for_make = arguments.parse_args(argv).help_for_make
    refuse_unknown_names()
    if help_for_make:
        write(for_make().encode())
        return 0
    document = msgspec.to_builtins(settings())
    values = {name: document[table][key] if table else document[key] for table, key, name, *_ in declared(Settings)}
    values["FROM_ENV"], values["TO_ENV"] = settings().environments
    values["record"] = document["record"]
    write_json(
        values | msgspec.to_builtins({s.variable: getattr(this_run(), s.variable.lower()) for s in declared(ThisRun)})
    )
    return 0


if __name__ == "__main__":
    run(main)
