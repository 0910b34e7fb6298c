"""Several trainings of networks of one shape, as one: most of what a small network's update takes is calls."""
