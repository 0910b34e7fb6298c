"""How good is a cheap score: evaluators compared, winners scored again, by searches made of searches."""
