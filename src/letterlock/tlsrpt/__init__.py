"""TLS reports: where a domain wants reports about deliveries to it (RFC 8460).

Today this room reads the announcement only, the TXT record at `_smtp._tls.<domain>`: `find_addresses`. `check` shows
it. Reports themselves are not written yet.
"""

from letterlock.tlsrpt.record import InvalidTLSRPTRecord, NoTLSRPTRecord, ReportAddresses, find_addresses

__all__ = ["InvalidTLSRPTRecord", "NoTLSRPTRecord", "ReportAddresses", "find_addresses"]
