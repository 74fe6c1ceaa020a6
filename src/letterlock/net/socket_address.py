"""An IP address and a port as a socket wants them, with the zone of a scoped address (RFC 4007 section 11)."""

import socket

SocketAddress = tuple[str, int] | tuple[str, int, int, int]


def socket_address(address: str, port: int) -> SocketAddress:
    """`fe80::1%eth0` names a host only together with its interface, which a socket wants by number.

    Raises OSError when there is no such interface.
    """
    host, percent, zone = address.partition("%")
    if not percent:
        return address, port
    return host, port, 0, _interface(zone)


def _interface(zone: str) -> int:
    if zone.isascii() and zone.isdecimal():
        return int(zone)
    try:
        return socket.if_nametoindex(zone)
    except OSError as error:
        raise OSError(error.errno, f"there is no network interface {zone}") from None
