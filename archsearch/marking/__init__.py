"""What may change in a network of one's own: marks in any ``nn.Module``; see ``docs/own_network.md``.

``choose(conv3, conv5, nn.Identity())`` in a model's ``__init__`` is a layer with alternatives, ``choose.depth`` a stack
of blocks of which the leading ones are used, ``choose.width`` a number of channels; ``mark`` puts such marks into a
model that stays as it is, by the names of its modules. ``archsearch.spaces.Marked`` makes a space of them.
"""

from typing import TYPE_CHECKING

from archsearch.basics.classes import lazy_classes

if TYPE_CHECKING:
    from archsearch.marking.choosing import Depth as Depth
    from archsearch.marking.choosing import Options as Options
    from archsearch.marking.choosing import choose as choose
    from archsearch.marking.choosing import mark as mark
    from archsearch.marking.widths import Width as Width

_MODULES = {"Depth": "choosing", "Options": "choosing", "Width": "widths", "choose": "choosing", "mark": "choosing"}
__all__ = ["Depth", "Options", "Width", "choose", "mark"]
__getattr__ = lazy_classes(__name__, _MODULES)
