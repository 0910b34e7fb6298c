"""The training room: how anything is trained. Evaluators say what is trained on which paths, and how it is scored.

recipe        how to train: optimiser, schedule, epochs, ...; the papers' recipes by name
trainer       a recipe bound to a space and a device: what evaluators use
binding       what the trainer knows of its space and data: networks, sizes, which images
loop          the loop over batches, and the usual step; steps of one's own, several optimisers
optimizer     optimisers, and the course of the learning rate
batches       how images are dealt out, none alone
augmentation  training images changed at random
paths         which paths of a super-network make an update
checkpoints   trainings as files with a checksum
repeats       what one training came to; those that are done are kept for the next try
meter         what is spent, and how large networks are
"""
