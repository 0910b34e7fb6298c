"""For the tests of cascades and their Ray workers: stages that cost known amounts and write down what they did."""

import os

import numpy as np

from archsearch import Cost, Evaluation, Evaluator, Space
from archsearch.errors import MissingAbility

SPACE = Space(arities=[6] * 5)


class Stage(Evaluator):
    """Scores by the sum of the options with noise that only the seed and the architecture decide.

    Args:
        noise: Standard deviation of the noise.
        price: Updates that an evaluation bills; preparing bills 100 examples for each.
        fails: Whether one architecture in seven fails.
        keeps: Whether preparing is done once for a run, and kept in a file.
        level: Added to all scores.
        width: Most decisions that a space may have.
    """

    def __init__(
        self,
        noise: float = 0.0,
        price: float = 1.0,
        fails: bool = False,
        keeps: bool = True,
        level: float = 10.0,
        width: int = 5,
    ) -> None:
        self.noise = noise
        self.price = price
        self.fails = fails
        self.keeps = self.keeps_files = keeps
        self.level = level
        self.width = width
        self.asked: list[int] = []
        self.sizes: list[int] = []
        self.prepared = 0

    def check(self, space):
        if space.max_length > self.width:
            raise MissingAbility(f"Stage has width {self.width}, {type(space).__name__} more decisions")

    def measure(self, architecture):
        return {"params": self.price * sum(architecture)}

    def prepare(self):
        done = self.folder is not None and (self.folder / "prepared.json").exists()
        if not (self.keeps and done):
            self.prepared += 1
            if self.folder is not None:
                (self.folder / "prepared.json").write_text("[]")
        if self.on_progress is not None:
            self.on_progress("preparing", 1, 1)
        return Cost(examples=100 * self.price)

    def evaluate(self, architecture, seed):
        self.space.validate(architecture)
        if self.fails and sum(architecture) % 7 == 3:
            raise ValueError("no such layer")
        rng = np.random.default_rng([seed, *architecture, int(self.price)])
        score = self.level + sum(architecture) + self.noise * rng.normal()
        metrics = {"size": sum(architecture), "process": os.getpid()}
        return Evaluation(float(score), metrics, Cost(updates=self.price), (0.0, float(score)))

    def evaluate_query(self, query):
        self.asked.append(query.id)
        return self.evaluate(query.architecture, query.seed)

    def evaluate_batch(self, queries):
        self.sizes.append(len(queries))
        return [self.evaluate_query(query) for query in queries]
