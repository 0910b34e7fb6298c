"""How a search is steered from outside: interrupts, another terminal, what it is told before, answers of advisers."""
