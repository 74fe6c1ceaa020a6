"""The world of deliveries, for what is told of them."""

from tests.deliver.conftest import context, credential, dialer, issuer

__all__ = ["context", "credential", "dialer", "issuer"]
