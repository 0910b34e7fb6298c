"""The grammar of spaces of cells: what is decided, how it is counted, varied, written, drawn, and made a network.

A published space is a short file of facts on it. ``rules`` has the facts of a space whose nodes join two inputs each,
``cells`` the space made of them, ``pairs`` what is added where both inputs of a node are different (DARTS), ``links``
the spaces whose layers have a bit for each earlier layer, ``recurrent`` those of recurrent cells. ``layers`` and the
networks need PyTorch; the others do not.
"""
