"""What fails: a small model of failures, learnt from trials, and how far it is to be believed."""
