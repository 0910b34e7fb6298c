"""Claims as experiments: what is varied, what is measured, and a threshold that was written before it ran."""
