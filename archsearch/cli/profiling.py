"""``archsearch profile``."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence

from archsearch.basics.words import say
from archsearch.cli.answers import Answer
from archsearch.cli.options import (
    DEFAULTS,
    add_component,
    add_fields,
    add_trust,
    check_files,
    files_first,
    instantiate,
    make_parser,
)

BUILDS = "Training"
"""The evaluator that says how networks are built, if none is given."""

SECONDS = 5.0
"""Between two lines that say how far a measurement is."""


def profile(arguments: Sequence[str]) -> Answer:
    """Measures the networks of a space on a device."""
    from archsearch.devices.profiler import Measuring
    from archsearch.devices.profiler import profile as profile_space

    arguments = files_first(arguments, only=("space", "evaluator"))
    check_files(arguments)
    parser = make_parser(
        "profile",
        "Measure every block of a space's networks on a device, write the table that --latency_table reads, and say "
        "how well it predicts whole networks.",
    )
    parser.add_argument(
        "--preset", type=str | None, default=None, help="take space and evaluator of this method, see 'list presets'"
    )
    parser.add_argument("--config", action="config", help="YAML file with any of these options")
    add_component(parser, "space", DEFAULTS["space"], arguments)
    add_component(parser, "evaluator", BUILDS, arguments)
    add_fields(parser, Measuring)
    parser.add_argument(
        "--out", type=str | None, default=None, help="the table, a .parquet file; default: SPACE-DEVICE-RUNTIME.parquet"
    )
    add_trust(parser, "a file of options")
    parser.add_argument("--quiet", action="store_true", help="do not say how far it is")
    config = parser.parse_args(list(arguments))
    given = config.as_dict()
    objects = instantiate(parser, config)
    measuring = Measuring(**{name: given[name] for name in Measuring.__dataclass_fields__})
    name = f"{type(objects.space).__name__}-{measuring.device}-{measuring.runtime}.parquet".replace(":", "")
    found = profile_space(
        objects.space,
        objects.evaluator,
        given["out"] or name,
        measuring,
        on_progress=None if given["quiet"] else _teller(),
    )
    return Answer(str(found), {"table": found.path, "facts": found.facts})


def _teller() -> Callable[[str, int, int], None]:
    """Says from time to time, to whoever watches, how far a measurement is."""
    said = time.monotonic()

    def tell(what: str, done: int, steps: int) -> None:
        nonlocal said
        if time.monotonic() - said >= SECONDS:
            said = time.monotonic()
            say(f"{what} {done:,} of {steps:,}", file=sys.stderr)

    return tell
