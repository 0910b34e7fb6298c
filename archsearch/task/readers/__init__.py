"""Readers of data, by what holds them; ``archsearch.task.reading`` knows which name is for which of them."""
