"""Classes that are imported on first use, that have other defaults than their base, or texts as annotations."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

C = TypeVar("C")


def lazy_classes(package: str, modules: Mapping[str, str]) -> Callable[[str], Any]:
    """A module's ``__getattr__`` that imports each class on first use.

    Args:
        package: The package's ``__name__``.
        modules: Name of the module, inside the package, that holds each class.
    """

    def __getattr__(name: str) -> Any:
        if name in modules:
            return getattr(importlib.import_module(f"{package}.{modules[name]}"), name)
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return __getattr__


def other_defaults(**defaults: Any) -> Callable[[type[C]], type[C]]:
    """A decorator for a class that takes its base's settings, some with other defaults, and does not repeat them.

    Its ``__init__`` is the base's but for these defaults: what reads signatures (the command line, ``describe``, help)
    sees all settings.
    """

    def decorate(cls: type[C]) -> type[C]:
        init: Any = cls.__init__
        taken = inspect.signature(init).parameters.items()
        old = {n: p.default for n, p in taken if p.default is not p.empty and p.kind is p.POSITIONAL_OR_KEYWORD}
        if not defaults.keys() <= old.keys():
            raise TypeError(f"{cls.__name__}: its base has defaults of {', '.join(old)}, got {', '.join(defaults)}")
        own = types.FunctionType(
            init.__code__, init.__globals__, init.__name__, tuple((old | defaults).values()), init.__closure__
        )
        own.__kwdefaults__, own.__annotations__ = init.__kwdefaults__, init.__annotations__
        own.__module__, own.__doc__ = cls.__module__, init.__doc__
        own.__qualname__ = f"{cls.__qualname__}.__init__"
        cls.__init__ = own  # type: ignore[method-assign]
        return cls

    return decorate


def settle(cls: Any) -> None:
    """Puts types where the annotations of the settings of a class, and of its bases, are texts.

    Where a module has ``from __future__ import annotations``, jsonargparse runs its ``if TYPE_CHECKING:`` blocks to
    find out what the annotations mean. Those of a space import networkx and, through the networks, torch: seconds, for
    types that none of its settings have. What the names of the module alone explain is settled here, so that nothing
    is left to run.

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
