"""The configuration: one TOML file in, frozen options out; every mistake at once, with its line and a hint.

Pydantic stands at the edge only: `tables` describes the file (the reference in docs/ is made from it), `values` and
`trust` check single values, `rules` holds the tables of rules and routes. What the rooms get are their own frozen
dataclasses, built by `options`, so that no room reads the configuration. Files that the configuration names
(certificates, trust roots, anchors) are read here too, so an Options object is always complete.

What this room refuses: keys that it does not know, values of another type, rules that mean nothing (names without
`verify`, a TLS version where cleartext would pass), and two rules for one domain. A refused file starts nothing.
"""

from letterlock.config.checked_values import Endpoint
from letterlock.config.mistakes import EX_CONFIG, BadConfig, Mistake, locate
from letterlock.config.options import Options, ResolverOptions, default_state_directory
from letterlock.config.reading import find, load, parse, queue_directory
from letterlock.config.sending import require_sources
from letterlock.config.tables import TABLES, known_keys
from letterlock.config.trust_files import system_roots
from letterlock.shared_defaults import MAX_FILE_OCTETS

__all__ = [
    "EX_CONFIG",
    "MAX_FILE_OCTETS",
    "TABLES",
    "BadConfig",
    "Endpoint",
    "Mistake",
    "Options",
    "ResolverOptions",
    "default_state_directory",
    "find",
    "known_keys",
    "load",
    "locate",
    "parse",
    "queue_directory",
    "require_sources",
    "system_roots",
]
