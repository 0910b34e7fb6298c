"""Architecture and training in one spec, numbers among them: a classifier of scikit-learn, searched by a model."""

from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

from archsearch import search
from archsearch.controllers import BayesianOptimization
from archsearch.evaluators import Function
from archsearch.spaces import Choices, Integer, Real

SPACE = Choices(
    {
        "layers": Integer(1, 3),
        "units": {**Integer(8, 128, log=True), "repeat": "layers"},  # units.1, units.2, ...
        "activation": ["relu", "tanh", "logistic"],
        "rate": Real(1e-4, 1e-1, log=True),
        "decay": Real(1e-6, 1e-1, log=True),
    }
)
IMAGES = train_test_split(*load_digits(return_X_y=True), test_size=0.5, random_state=0)


def accuracy(made, seed):
    """Of a network that is trained for twenty epochs."""
    units = [made[f"units.{layer}"] for layer in range(1, made["layers"] + 1)]
    network = MLPClassifier(
        units, made["activation"], alpha=made["decay"], learning_rate_init=made["rate"], max_iter=20
    )
    train, test, targets, truth = IMAGES
    return network.set_params(random_state=seed % 2**32).fit(train, targets).score(test, truth)


if __name__ == "__main__":
    print(search(SPACE, BayesianOptimization(), Function(accuracy), trials=20, seed=0))
