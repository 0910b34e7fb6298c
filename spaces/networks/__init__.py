"""Networks that fill a file of their own, one file for those of one space; and the graphs that they are made from.

A network's file imports its space. A space imports its network only inside the methods that make one, so that it needs
no PyTorch; what describes graphs (``nasbench101_cell``, ``nasbench_nlp_recipe``, ``conv_chain_moves``) needs none, and
both import it.
"""
