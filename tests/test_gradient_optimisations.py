"""Steps of architecture parameters: against the papers' toy problem and exact gradients."""

import pytest
import torch
from differentiable_lab import generator, tiny

from archsearch.differentiable.optimisations import amended_gradient, gradients, shifted, unrolled_gradient

# -- optimisations -----------------------------------------------------------------------------------


def solve_toy(second, rate=0.05, updates=3000):
    """The problem of DARTS, appendix: L_val = aw - 2a + 1, L_train = w^2 - 2aw + a^2, from (a, w) = (2, -2)."""
    a, w = (torch.tensor(value, requires_grad=True) for value in (2.0, -2.0))

    def train():
        return w * w - 2 * a * w + a * a

    def valid():
        return a * w - 2 * a + 1

    for _ in range(updates):
        (slope,) = unrolled_gradient(train, valid, [w], [a], 0.5) if second else gradients(valid(), [a])
        with torch.no_grad():
            a -= rate * slope
        (step,) = gradients(train(), [w])
        with torch.no_grad():
            w -= rate * step
    return a.item(), w.item()


def test_the_published_toy_problem_needs_second_order():
    assert solve_toy(second=True) == pytest.approx((1, 1), abs=1e-3)
    assert max(abs(value - 1) for value in solve_toy(second=False)) > 0.5


@pytest.mark.parametrize("seed", range(3))
def test_second_order_is_the_gradient_through_one_step(seed):
    loss, layers, alpha = tiny(seed)
    rate = 0.3
    steps = torch.autograd.grad(loss(0, layers, alpha), layers, create_graph=True)
    unrolled = [w - rate * step for w, step in zip(layers, steps, strict=True)]
    (exact,) = torch.autograd.grad(loss(1, unrolled, alpha), alpha)
    before = [w.clone() for w in layers]
    (found,) = unrolled_gradient(lambda: loss(0, layers, alpha), lambda: loss(1, layers, alpha), layers, [alpha], rate)
    assert (found - exact).norm() <= 1e-3 * exact.norm()
    (first,) = gradients(loss(1, layers, alpha), [alpha])
    assert (first - exact).norm() > 1e-2 * exact.norm()  # else this would show nothing
    assert all(torch.equal(w, kept) for w, kept in zip(layers, before, strict=True))


def quadratic(seed):
    """Losses for which all is known: H of the weights, the mixed derivative -A, the gradients c and d."""
    draw = generator(seed)
    root, mixed = (torch.randn(4, n, dtype=torch.float64, generator=draw) for n in (4, 3))
    c, d = (torch.randn(n, dtype=torch.float64, generator=draw) for n in (4, 3))
    hessian = root @ root.T + torch.eye(4, dtype=torch.float64)
    alpha = torch.randn(3, dtype=torch.float64, generator=draw).requires_grad_()
    best = torch.linalg.solve(hessian, mixed @ alpha.detach()).requires_grad_()
    return (
        lambda: 0.5 * best @ hessian @ best - (mixed @ alpha) @ best,
        lambda: c @ best + d @ alpha,
        (best, alpha),
        (hessian, mixed, c, d),
    )


def test_the_amended_gradient_is_what_it_says():
    for seed in range(5):
        train, valid, (best, alpha), (hessian, mixed, c, d) = quadratic(seed)
        (found,) = amended_gradient(train, valid, [best], [alpha], 0.1)
        torch.testing.assert_close(found, d + 0.1 * mixed.T @ hessian @ c, rtol=1e-3, atol=1e-6)


def test_the_amended_gradient_points_the_right_way_where_the_plain_one_does_not():
    """L_train = w^2 - aw, so that w is a/2, and L_val = a - 4w falls as a rises; at a fixed w it rises."""
    a = torch.tensor(1.0, dtype=torch.float64, requires_grad=True)
    w = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
    true = 1 - 4 / 2
    (plain,) = gradients(a - 4 * w, [a])
    (found,) = amended_gradient(lambda: w * w - a * w, lambda: a - 4 * w, [w], [a], 0.5)
    assert true * plain.item() < 0 < true * found.item()


def test_values_that_are_shifted_come_back():
    values = [torch.rand(3, generator=generator()), torch.rand((), generator=generator(1))]
    kept = [value.clone() for value in values]
    with shifted(values, [torch.ones(3), torch.ones(())], 0.1):
        torch.testing.assert_close(values[0], kept[0] + 0.1)
    assert all(torch.equal(value, before) for value, before in zip(values, kept, strict=True))
