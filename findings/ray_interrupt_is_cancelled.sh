#!/usr/bin/env bash
# A KeyboardInterrupt that an actor's or task's own code raises reaches the caller of Ray as "was cancelled".
#
# Package: ray 2.60.0.
# Guess before it was run: RayTaskError with the KeyboardInterrupt as its cause, as for any other exception.
# Seen: RayTaskError(TaskCancelledError), with a text that names a task which "was cancelled", though nobody cancelled
#   it. The actor lives on, and answers the next call. Neither `except KeyboardInterrupt` nor the cause tells it from ray.cancel.
# Why it matters here: an evaluation that is interrupted must be a failed trial with its kind, not a withdrawn one.
# archsearch's workers therefore catch it themselves, before Ray sees it.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet ray==2.60.0
HOME="$folder" "$folder/venv/bin/python" - <<'PYTHON'
import logging

import ray

ray.init("local", num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)


@ray.remote
class Actor:
    def interrupt(self):
        raise KeyboardInterrupt("my own")

    def alive(self):
        return True


actor = Actor.remote()
try:
    ray.get(actor.interrupt.remote(), timeout=60)
    found = None
except ray.exceptions.RayTaskError as error:
    found = error
print("ray", ray.__version__, [cls.__name__ for cls in type(found).__mro__[:4]], str(found).splitlines()[-1])
assert isinstance(found, ray.exceptions.TaskCancelledError), "this has changed"
assert "my own" not in str(found).splitlines()[-1], "this has changed"
assert ray.get(actor.alive.remote(), timeout=60)
ray.shutdown()
PYTHON
