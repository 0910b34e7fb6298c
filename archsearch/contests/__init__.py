"""Which controller is better: the same searches under each, over several seeds."""
