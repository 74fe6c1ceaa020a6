"""Postfix's ways to write where a server or a service is, as ours."""

SPOOL = "/var/spool/postfix"  # relative names of sockets begin here


def next_hop_of(value: str) -> tuple[str, int | None] | None:
    """`transport:nexthop` of transport(5) as our next hop and port."""
    kind, _, rest = value.partition(":")
    if kind == "lmtp":
        if rest.startswith("unix:"):
            path = rest.removeprefix("unix:")
            return f"lmtp:{path if path.startswith('/') else f'{SPOOL}/{path}'}", None
        host, _, port = rest.removeprefix("inet:").rpartition(":")
        address = host or rest.removeprefix("inet:")
        bare = "127.0.0.1" if address == "localhost" else address.strip("[]")
        return f"lmtp:[{bare}]" + (f":{port}" if host and port.isdecimal() else ""), None
    if kind in ("smtp", "relay") and rest:
        host, _, port = rest.rpartition(":") if not rest.endswith("]") else (rest, "", "")
        if host and port.isdecimal():
            return host, int(port)
        named = {"submission": 587, "smtp": 25}
        return (host, named[port]) if port in named and host else (rest, None)
    return None


def address_of(value: str) -> str | None:
    """`inet:host:port` or `unix:path` of Postfix as our address of a service."""
    kind, _, rest = value.partition(":")
    if kind in ("unix", "local") and rest:
        return f"unix:{rest if rest.startswith('/') else f'{SPOOL}/{rest}'}"
    host, _, port = rest.rpartition(":")
    if kind == "inet" and host and port.isdecimal():
        return f"{'127.0.0.1' if host == 'localhost' else host}:{port}"
    return None
