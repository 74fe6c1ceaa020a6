"""The mutants that no test notices, and why that is right. `tests.mutation.run` names every survivor that is not here,
and every entry that is no survivor any more.

A mutant is named by its module, its function or class, and the change.
"""

SURVIVORS: dict[tuple[str, str, str], str] = {}
