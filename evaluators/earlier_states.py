"""The states of a training at the end of its last epochs, to which it may go back."""

from __future__ import annotations

from pathlib import Path

from archsearch.training.checkpoints import Checkpoint, put_back, read_checkpoint, run_state, write_run
from archsearch.training.loop import Run
from archsearch.training.trainer import Trainer

OTHERWISE = "the search does not go back, and goes on from where it is with a greater weight decay"


class EarlierStates:
    """Files in the trainer's folder, so that a search that was killed can go back, too; where it has none, in memory.

    Args:
        trainer: Says where files are kept.
        keep: How many states, >= 0.
    """

    def __init__(self, trainer: Trainer, keep: int) -> None:
        self._trainer = trainer
        self._keep = keep
        self._memory: dict[int, Checkpoint] = {}

    def add(self, run: Run, epoch: int) -> None:
        """Keeps the state at the end of an epoch, and forgets what is older than those that are kept."""
        if not self._keep:
            return
        if (folder := self._trainer.folder) is None:
            self._memory[epoch] = _copied(run_state(run))
            self._memory.pop(epoch - self._keep, None)
        else:
            write_run(run, self._path(folder, epoch))
            self._path(folder, epoch - self._keep).unlink(missing_ok=True)

    def restore(self, run: Run, epoch: int) -> bool:
        """Takes a training back to the end of an epoch; whether that was possible."""
        folder = self._trainer.folder
        if folder is None:
            found = _copied(self._memory[epoch])
        elif (read := read_checkpoint(self._path(folder, epoch), OTHERWISE)) is not None:
            found = read
        else:
            return False
        put_back(run, *found)
        return True

    def clear(self) -> None:
        """Forgets all."""
        self._memory.clear()
        if self._keep and self._trainer.folder is not None:
            for path in self._trainer.folder.glob("super-network-[0-9]*.safetensors"):
                path.unlink(missing_ok=True)

    @staticmethod
    def _path(folder: Path, epoch: int) -> Path:
        return folder / f"super-network-{epoch:d}.safetensors"


def _copied(state: Checkpoint) -> Checkpoint:
    """Tensors of its own: an optimiser changes those that it was given."""
    return Checkpoint({name: value.detach().clone() for name, value in state.tensors.items()}, dict(state.facts))
