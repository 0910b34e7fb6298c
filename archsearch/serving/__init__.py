"""One local page over run folders, redrawn while searches run: ``archsearch serve RUNS...``.

Read only, for the user of this machine who started it. ``runs`` finds and reads run folders, ``documents`` says what
the page asks for, ``server`` answers; ``page.html``, ``page.css`` and ``page.js`` are the page.
"""

from archsearch.serving.server import PORT, PageServer

__all__ = ["PORT", "PageServer"]
