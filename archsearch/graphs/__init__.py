"""Graphs of operations that are edited by moves: what the spaces of architectures that grow have in common.

``graph`` is the data, ``space`` the tree of decisions and all that a space offers, ``moves`` the edits; ``keys`` says
which graphs are the same. ``correspondence`` finds out what of a trained network lives on in another one, by the graphs
alone. ``network``, ``operations`` and ``transfer`` need PyTorch; the others do not. A published space is a short file
of facts: operations, sizes, and which moves there are.
"""
