"""The grammar of chains: stages of layers, each of which is one of a few blocks; a published chain is a file of facts.

``blocks`` has what a layer can be, ``rules`` the facts of a chain, ``chain`` the space made of them. ``layers``,
``network`` and ``morphs`` need PyTorch; the others do not.
"""
