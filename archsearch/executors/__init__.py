"""Where evaluations run, and how an evaluator is asked so that whatever goes wrong becomes a failure."""
