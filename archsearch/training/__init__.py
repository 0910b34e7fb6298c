"""Where networks are trained: what every evaluator that trains has in common."""
