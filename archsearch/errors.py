"""Everything that archsearch raises on purpose.

    ArchsearchError
    ├── UsageError (ValueError)          the user asked for something that cannot be
    │   ├── InvalidArchitecture          an architecture that is not in the space
    │   ├── MissingAbility               this evaluator needs what this space does not offer
    │   ├── UnknownName (KeyError)       no controller, evaluator, space, column ... of that name
    │   ├── TableError                   a table with missing columns, duplicates, wrong types
    │   ├── TaskError                    images or labels that cannot be trained on
    │   └── RunFolderError               a run folder that cannot be used as asked
    │       └── NotTrusted               it names code that is not installed, and was not trusted
    ├── UnknownProposal (KeyError)       a result for an id that is not pending
    ├── ConstraintError                  a bounded rejection loop found nothing
    ├── TooManyFailures                  evaluations failed one after another
    ├── TrainingDiverged                 a loss is no longer finite; the trial fails
    ├── ExecutorError                    the cluster or its workers cannot be used
    └── StorageError                     the run folder can no longer be written

A message says what was expected, what came, where it came from and what to do. The command line
prints the message of any ``ArchsearchError`` without a traceback; exit status 2 for ``UsageError``.
"""

from __future__ import annotations


class ArchsearchError(Exception):
    """Base of every error that archsearch raises on purpose."""

    def __str__(self) -> str:
        # KeyError would print the repr of its argument, which is unreadable for a sentence.
        return str(self.args[0]) if self.args else ""


class UsageError(ArchsearchError, ValueError):
    """The user asked for something that cannot be; nothing was written."""


class InvalidArchitecture(UsageError):
    """An architecture that is not in the space."""


class MissingAbility(UsageError):
    """An evaluator needs an ability that the space does not offer."""


class UnknownName(UsageError, KeyError):
    """No component, column or option of that name."""


class TableError(UsageError):
    """A benchmark table that cannot be used: missing columns, duplicates, wrong types."""


class TaskError(UsageError):
    """A task that cannot be used: wrong shapes, labels out of range, empty parts, NaN pixels, missing files."""


class RunFolderError(UsageError):
    """A run folder that cannot be used as asked: occupied, read-only, of another space."""


class NotTrusted(RunFolderError):
    """A folder or file names code that no installed package offers, and nobody said that it is trusted."""


class UnknownProposal(ArchsearchError, KeyError):
    """A result was told for an id that was never asked, or was told already."""


class ConstraintError(ArchsearchError):
    """A bounded rejection loop found no architecture that meets the constraint."""


class TooManyFailures(ArchsearchError):
    """Evaluations failed one after another; the first error text is in the message."""


class TrainingDiverged(ArchsearchError):
    """The loss of a training is NaN or infinite."""


class ExecutorError(ArchsearchError):
    """The executor's cluster or workers cannot be reached or do not start."""


class ExportError(ArchsearchError):
    """What was exported does not compute what the network does."""


class StorageError(ArchsearchError):
    """The run folder can no longer be written (disk full, folder gone); what was saved is intact."""
