"""How often the amended gradient (Bi et al. 2019) points the right way where the plain one does not.

    python benchmarks/amended.py

Random quadratic problems of four weights w and three architecture parameters a, for which the true gradient is known:
L_train = w'Hw/2 - w'Ma with H = RR' + 1, L_val = c'w + d'a, at the weights that are best for a; R, M, c, d are normal.
The plain gradient is d, the true one d + M'H^-1 c, the amended one d + 0.1 M'Hc. Right: less than 90 degrees off.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence

import torch

from archsearch.differentiable.optimisations import amended_gradient


def signs(seed: int, amendment: float) -> tuple[bool, bool]:
    """Whether the plain and the amended gradient are right, in one problem."""
    generator = torch.Generator().manual_seed(seed)
    root, mixed = (torch.randn(4, n, dtype=torch.float64, generator=generator) for n in (4, 3))
    c, d = (torch.randn(n, dtype=torch.float64, generator=generator) for n in (4, 3))
    hessian = root @ root.T + torch.eye(4, dtype=torch.float64)
    alpha = torch.randn(3, dtype=torch.float64, generator=generator).requires_grad_()
    best = torch.linalg.solve(hessian, mixed @ alpha.detach()).requires_grad_()
    (found,) = amended_gradient(
        lambda: 0.5 * best @ hessian @ best - (mixed @ alpha) @ best,
        lambda: c @ best + d @ alpha,
        [best],
        [alpha],
        amendment,
    )
    true = d + mixed.T @ torch.linalg.solve(hessian, c)
    return bool(d @ true > 0), bool(found @ true > 0)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", type=int, default=200)
    parser.add_argument("--amendments", type=float, nargs="+", default=[0.01, 0.1, 1.0])
    given = parser.parse_args(arguments)
    print(
        "| amendment | plain wrong | of these amended right | plain right | of these amended wrong |\n"
        + "|---" * 5
        + "|"
    )
    for amendment in given.amendments:
        found = Counter(signs(seed, amendment) for seed in range(given.problems))
        wrong, right = (found[(plain, False)] + found[(plain, True)] for plain in (False, True))
        print(f"| {amendment:g} | {wrong} | {found[(False, True)]} | {right} | {found[(True, False)]} |")


if __name__ == "__main__":
    main()
