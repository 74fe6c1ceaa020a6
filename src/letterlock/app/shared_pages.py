"""The memory that workers share: all that was loaded before they were forked, page by page until one writes to it.

Everything that a worker needs is therefore loaded before, and the cycle collector, which writes to every object that it
looks at, leaves all of it alone: of some 50 MB two thirds stay shared.
"""

import gc
import importlib

from letterlock.config import Options, system_roots
from letterlock.state.shared_state import STATE_ENGINES
from letterlock.store.engines import ENGINES


def share_pages(options: Options) -> None:
    """Prepare this process for forking workers that serve these options."""
    engine = options.store.engine
    for name in (*ENGINES[engine].modules, *STATE_ENGINES[engine].modules):
        importlib.import_module(name)
    if options.public_roots is None:
        system_roots()  # remembered: no worker reads and checks them again
    gc.collect()  # garbage of the start would keep its pages for ever
    gc.freeze()
