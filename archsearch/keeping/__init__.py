"""What is kept of a run, in memory and on disk, and how it is read again."""
