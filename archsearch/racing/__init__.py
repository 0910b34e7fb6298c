"""Who is the best, and how sure is that? Noise, a race of the best against each other, and what can be said of it."""

from archsearch.racing.certainty import Certainty

__all__ = ["Certainty"]
