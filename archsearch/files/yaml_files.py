"""YAML files: plain data, written as people would write it."""

from __future__ import annotations

from typing import Any

import yaml

from archsearch.basics.texts import shown
from archsearch.errors import UsageError

# In C where PyYAML was built with it: ten times as fast.
_DUMPER, _LOADER = getattr(yaml, "CSafeDumper", yaml.SafeDumper), getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def yaml_text(data: Any) -> str:
    """Plain data as YAML, in its own order.

    Raises:
        UsageError: If a text in it cannot be written, such as the name of a file that is not UTF-8.
    """
    try:
        return yaml.dump(data, Dumper=_DUMPER, sort_keys=False)
    except UnicodeEncodeError as error:
        raise UsageError(
            f"settings: expected texts that UTF-8 can hold, got {shown(error.object)}; rename what that stands for"
        ) from None


def read_yaml(text: str) -> Any:
    """The plain data in YAML.

    Raises:
        yaml.YAMLError: If it is none.
    """
    return yaml.load(text, Loader=_LOADER)
