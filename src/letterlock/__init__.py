"""Letterlock: a mail transfer agent whose deliveries cannot be downgraded.

It validates DNSSEC itself, decides for every MX host what must hold before a message may leave (DANE, the operator's
rules, else opportunistic TLS), keeps what it accepted, and explains every decision. The rooms of the house and who may
import whom are drawn in docs/concepts/architecture.md; `app/server.py` is the only place that builds things.
"""

__version__ = "0.2.0"
