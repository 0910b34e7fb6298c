"""The kernels of ``GaussianProcess``: a Matérn kernel of distances, a linear one, and how likely labels are by both.

Reference: Rasmussen & Williams, "Gaussian Processes for Machine Learning", 2006, sections 4.2.1 and 4.2.2, and 5.4.1
for the gradient of the marginal likelihood. Distances and products are sums over the encodings, each in units of its
length.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Product = Callable[[npt.NDArray[np.float32], npt.NDArray[np.float32]], npt.NDArray[np.float32]]

JITTER = 1e-6


def row_by_row(first: npt.NDArray[np.float32], second: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """``first @ second.T``, each row rounded in the same way wherever it stands.

    Matrix products of OpenBLAS may give equal rows different results: its Haswell kernels round the last rows of
    a block otherwise. A prediction must not depend on which others are asked for with it.
    """
    product: npt.NDArray[np.float32] = np.einsum("ij,kj->ik", first, second)
    return product


def product_of(first: npt.NDArray[np.float32], second: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """``first @ second.T``."""
    return first @ second.T


def prepared(rows: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """What of the rows that distances are measured to is the same for all that are asked for."""
    return -2 * rows, np.square(rows).sum(1)


def squared_distances(
    first: npt.NDArray[np.float32],
    second: tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]],
    product: Product,
) -> npt.NDArray[np.float32]:
    """Between all rows of both, shape (rows of the first, rows of the second, which are ``prepared``)."""
    squares = product(first, second[0])
    squares += np.square(first).sum(1)[:, None]
    squares += second[1]
    np.maximum(squares, 0, out=squares)
    return squares


def among(rows: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """The squared distances between all rows."""
    return squared_distances(rows, prepared(rows), product_of)


def matern(squares: npt.NDArray[np.float32], weight: np.float32, smoothness: float) -> npt.NDArray[np.float32]:
    """The Matérn kernel of squared distances, times a weight; computed in place."""
    squares *= np.float32(2 * smoothness)
    distances = np.sqrt(squares)
    if smoothness == 2.5:
        squares /= 3
        squares += distances
        squares += 1
    elif smoothness == 1.5:
        np.add(distances, 1, out=squares)
    else:
        squares.fill(1)
    np.exp(np.negative(distances, out=distances), out=distances)
    distances *= weight
    squares *= distances
    return squares


def matern_and_derivative(squares: Array, smoothness: float) -> tuple[Array, Array]:
    """The Matérn kernel of squared distances, and its derivative by them."""
    distances = np.sqrt(2 * smoothness * squares)
    decay = np.exp(-distances)
    if smoothness == 2.5:
        return (1 + distances + distances * distances / 3) * decay, -5 / 6 * (1 + distances) * decay
    if smoothness == 1.5:
        return (1 + distances) * decay, -1.5 * decay
    return decay, -decay / (2 * np.maximum(distances, 1e-6))


def covariance_of(
    logs: Array, squares: Sequence[Array], products: Sequence[Array], smoothness: float
) -> tuple[Array, Array, Array | None]:
    """Covariance of the labels, the derivative of its Matérn part by squared distances, and its linear part, if any."""
    rates = np.exp(-2 * logs[: len(squares)])
    total = np.sum([each * rate for each, rate in zip(squares, rates, strict=True)], axis=0)
    kernel, derivative = matern_and_derivative(total, smoothness)
    weight = np.exp(logs[-2])
    covariance = weight * kernel + (np.exp(logs[-1]) + JITTER) * np.eye(len(kernel))
    linear = None
    if products:
        linear = np.exp(logs[-3]) * np.sum([each * rate for each, rate in zip(products, rates, strict=True)], axis=0)
        covariance += linear
    return covariance, weight * derivative, linear


def loss_and_gradient(
    logs: Array,
    squares: Sequence[Array],
    products: Sequence[Array],
    targets: Array,
    priors: Array,
    smoothness: float,
) -> tuple[float, Array]:
    """Negative logarithm of marginal likelihood times priors, and its gradient by the logarithms of the settings."""
    covariance, derivative, linear = covariance_of(logs, squares, products, smoothness)
    lower = np.linalg.cholesky(covariance)
    half = np.linalg.inv(lower)
    inverse = half.T @ half
    coefficients = inverse @ targets
    loss = targets @ coefficients / 2 + np.log(np.diag(lower)).sum()
    # d loss / d setting = trace((inverse - coefficients coefficients') d covariance / d setting) / 2
    inner = (inverse - np.outer(coefficients, coefficients)) / 2
    noise = np.exp(logs[-1])
    gradient = np.empty(len(logs))
    steep = inner * derivative
    for i, each in enumerate(squares):
        change = (steep * each).sum()
        if products:
            change += (inner * products[i]).sum() * np.exp(logs[-3])
        gradient[i] = change * -2 * np.exp(-2 * logs[i])
    gradient[-2] = (inner * covariance).sum() - np.trace(inner) * (noise + JITTER)
    if linear is not None:
        gradient[-3] = (inner * linear).sum()
        gradient[-2] -= gradient[-3]
    gradient[-1] = np.trace(inner) * noise
    away = (logs - priors[:, 0]) / priors[:, 1]
    return float(loss + np.square(away).sum() / 2), gradient + away / priors[:, 1]
