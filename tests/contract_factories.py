"""Small instances of the components on the shelves, for their contracts."""

from archsearch.components import load


def shares_of_ones(architecture) -> float:
    return sum(option == 1 for option in architecture) / max(1, len(architecture))


def advice(state):
    """Changes one decision of the best; says nothing, or nonsense, now and then."""
    count = state["trials"]["completed"]
    if not state["best"] or count % 5 == 4:
        return None if count % 2 else {"architecture": "nonsense"}
    options = state["best"][0]["options"]
    place = count % len(options)
    return {"architecture": [*options[:place], (options[place] + 1 + count // 7) % 3, *options[place + 1 :]]}


FACTORIES = {
    "Advised": lambda: load("Advised")(adviser="contract_factories.advice"),
    "AmoebaNet": lambda: load("AmoebaNet")(layers=3, channels=4),
    "Bananas": lambda: load("Bananas")(labels=40, candidates=100, batch=25),
    "BayesianOptimization": lambda: load("BayesianOptimization")(labels=40, candidates=100, batch=25),
    "MOBSTER": lambda: load("MOBSTER")(load("MultiFidelityBayesianOptimization")(labels=40, candidates=100, batch=25)),
    "MultiFidelityBayesianOptimization": lambda: load("MultiFidelityBayesianOptimization")(
        labels=40, candidates=100, batch=25
    ),
    "HypervolumeImprovement": lambda: load("HypervolumeImprovement")(labels=40, candidates=100, batch=25),
    "Cascade": lambda: load("Cascade")([load("Function")(len), FACTORIES["Function"]()], reference=10),
    "Differentiable": lambda: load("Differentiable")(training=FACTORIES["Training"](), epochs=2),
    "Finalists": lambda: load("Finalists")(samples=20, finalists=4),
    "Inherit": lambda: load("Inherit")(training=FACTORIES["Training"]()),
    "LearningCurve": lambda: load("LearningCurve")(FACTORIES["Training"]()),
    "OnDevice": lambda: load("OnDevice")(load("Tabular")(), 0.02),
    "OneShot": lambda: load("OneShot")(training=FACTORIES["Training"](), epochs=2),
    "Predictor": lambda: load("Predictor")(labels=20),
    "LaNAS": lambda: load("LaNAS")(every=30),
    "NAO": lambda: load("NAO")(initial=120, batch=150, epochs=5, width=16, seeds=20),
    "PPO": lambda: load("PPO")(hidden_size=16),
    "QLearning": lambda: load("QLearning")(models=400, replay=32),
    "Progressive": lambda: load("Progressive")(load("RandomForest")(trees=10), beam=40, first=40, labels=60),
    "Training": lambda: load("Training")(epochs=2, train_examples=32, batch_size=16, skeleton={"channels": 2}),
    "ZeroCost": lambda: load("ZeroCost")(training=FACTORIES["Training"](), batch=16),
    "ZeroCostEnsemble": lambda: load("ZeroCostEnsemble")(training=FACTORIES["Training"](), batch=16, reference=10),
    "BlockQNN": lambda: load("BlockQNN")(layers=5, channels=4, blocks=1),
    "Marked": lambda: load("Marked")("marked_models.ResNet", {"channels": 4}),
    "MetaQNN": lambda: load("MetaQNN")(layers=6),
    "CGP": lambda: load("CGP")(rows=3, columns=6, level_back=3, filters=[4, 8], least=2),
    "ENASMacro": lambda: load("ENASMacro")(layers=6, channels=4),
    "GeneticCNN": lambda: load("GeneticCNN")(channels=4),
    "Hierarchical": lambda: load("Hierarchical")(channels=4),
    "EncoderDecoder": lambda: load("EncoderDecoder")(widths=[4, 6]),
    "ENASMicro": lambda: load("ENASMicro")(layers=3, channels=4),
    "NASNet": lambda: load("NASNet")(layers=3, channels=4),
    "OnceForAll": lambda: load("OnceForAll")([(4, 1, "relu", False), (6, 2, "hard_swish", True)], resolutions=[6, 8]),
    "PNAS": lambda: load("PNAS")(layers=3, channels=4),
    "RandWire": lambda: load("RandWire")(nodes=9, stages=2, seeds=5, channels=4),
    "RDARTS": lambda: load("RDARTS")("S4", layers=3, channels=4),
    "NASBenchNLP": lambda: load("NASBenchNLP")(nodes=6),
    "CoDeepNEAT": lambda: load("CoDeepNEAT")(species=2, nodes=2, layers=2, filters=[4, 8]),
    "CoEvolution": lambda: load("CoEvolution")(blueprints=15, modules=20, first=15),
    "Choices": lambda: load("Choices")({"operation": ["conv", "pool", "skip"], "width": [16, 32]}),
    "Function": lambda: load("Function")(shares_of_ones),
}
"""For classes that cannot be made without arguments, or take long to show what they do with their defaults."""

LEARNERS = {
    "NAO": lambda: load("NAO")(initial=60, batch=100, epochs=60, width=24, seeds=50),
    "PPO": load("PPO", "controllers"),
}
"""For ``beats_random_search``, where what is quick does not learn."""

SPACES = dict.fromkeys(
    ("Cascade", "Differentiable", "Inherit", "LearningCurve", "OneShot", "Training", "ZeroCost", "ZeroCostEnsemble"),
    "NASBench201",
)
"""For evaluators that suit several spaces, a quick one."""
