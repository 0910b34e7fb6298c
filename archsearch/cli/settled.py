"""Annotations of a class's settings as types, before jsonargparse has to make them out of text.

Where a module has ``from __future__ import annotations``, jsonargparse runs its ``if TYPE_CHECKING:`` blocks to find
out what the annotations mean. Those of a space import networkx and, through the networks, torch: seconds, for
types that none of its settings have. What the names of the module alone explain is settled here, so that nothing
is left to run.
"""

from __future__ import annotations

import contextlib
import inspect
import typing
from typing import Any


def settle(cls: Any) -> None:
    """Puts types where the annotations of the settings of a class, and of its bases, are texts.

    They are those that jsonargparse would find. Annotations that cannot be resolved without type-checking imports stay
    as they are, and jsonargparse resolves them as it does.

    Args:
        cls: A class; anything else is left alone.
    """
    for each in inspect.getmro(cls) if inspect.isclass(cls) else ():
        init = vars(each).get("__init__")
        if inspect.isfunction(init) and any(isinstance(kind, str) for kind in init.__annotations__.values()):
            with contextlib.suppress(Exception):  # annotations can be any expressions
                init.__annotations__ = typing.get_type_hints(init)
