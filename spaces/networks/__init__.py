"""Networks that fill a file of their own: what the spaces build, one file for the networks of one space.

A network's file imports its space; a space imports its network only where it makes one, so that it needs no PyTorch.
"""
