"""The room of search by gradient: parts that a method is put together from, each of which can be swapped.

part            the base of all of them
parameters      the architecture parameters: one number for each candidate of each choice
relaxations     from parameters to the weights with which candidates are mixed, all or some that are drawn
optimisations   in which order, and by which gradient, weights and architecture parameters are updated
guards          what keeps the search from going wrong: when to stop or go back, perturbation, dropout, penalties
stages          several searches one after another, in deeper networks with fewer candidates
curvature       the largest eigenvalue of the loss over the architecture parameters
costs           what each candidate costs
resources       the loss that is added for that
discretisations from strengths to an architecture
searching       one search: what a step may ask for
"""
