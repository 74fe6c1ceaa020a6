"""The world of deliveries, for statistics too."""

from tests.deliver.conftest import context, credential, dialer, issuer

__all__ = ["context", "credential", "dialer", "issuer"]
