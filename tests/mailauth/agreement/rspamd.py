"""rspamd, as a server of its own with nothing but its DKIM filter, asked over HTTP; keys from a DNS server of ours."""

import http.client
import json
import os
import shutil
import socket
import stat
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import dns.exception
import dns.message
import dns.rcode
import dns.rrset

from letterlock.mailauth.dkim.signing_key import SigningKey, zone_line
from tests.mailauth.agreement.peers import pem, with_one_signature

START_SECONDS = 60
USER = "_rspamd"  # of the Debian package
CONFIGURATION = """
options {{
  filters = "dkim"; pidfile = "{folder}/pid"; cache_file = "{folder}/cache"; tempdir = "{folder}";
  dynamic_conf = "{folder}/dynamic"; history_file = "{folder}/history"; task_timeout = 30s;
  url_tld = "/usr/share/rspamd/effective_tld_names.dat"; dns {{ nameserver = "127.0.0.1:{dns}"; timeout = 2s; }}
}}
logging {{ type = "file"; filename = "{folder}/log"; level = "warning"; }}
worker "normal" {{ bind_socket = "127.0.0.1:{http}"; count = 1; }}
dkim {{ skip_multi = false; }}
lua = "{folder}/rules.lua";
modules {{ path = "/usr/share/rspamd/plugins/dkim_signing.lua"; path = "/usr/share/rspamd/plugins/arc.lua"; }}
arc {{ enabled = true; }}
dkim_signing {{
  enabled = true; sign_authenticated = true; sign_local = false; allow_username_mismatch = true;
  allow_hdrfrom_mismatch = true; use_domain = "envelope"; use_esld = false; check_pubkey = false; use_redis = false;
  domain {{ example.org {{ selectors [ {selectors} ] }} }}
}}
metric "default" {{ symbol "R_DKIM_ALLOW" {{ weight = 0; }} symbol "R_DKIM_REJECT" {{ weight = 0; }} }}
"""


class Rspamd:
    """A running rspamd."""

    name = "rspamd"

    def __init__(self, port: int, process_id: int) -> None:
        self._port = port
        self.process_id = process_id

    def passes(self, contents: Sequence[bytes]) -> list[bool]:
        """Whether any signature of each message holds. One that it cannot read would end the others with it."""
        return [any(self._asked(each) for each in with_one_signature(content)) for content in contents]

    def sign(self, content: bytes) -> bytes | None:
        """The message with its RSA signature, as mail of a user who logged in; None when it makes none."""
        made = self._answer(content, {"User": "a@example.org", "IP": "192.0.2.7"}).get("dkim-signature")
        first = made[0] if isinstance(made, list) else made  # one for each key
        if not isinstance(first, str):
            return None
        field = "\r\n".join(first.splitlines())  # it folds by LF when it sees no line end; milters do not
        return f"DKIM-Signature: {field}\r\n".encode() + content

    def arc(self, content: bytes) -> str:
        """What it finds of the chain: `pass`, `fail` or `none`."""
        symbols = self._answer(content, {}).get("symbols", {})
        return "pass" if "ARC_ALLOW" in symbols else "none" if "ARC_NA" in symbols else "fail"

    def _asked(self, content: bytes) -> bool:
        return "R_DKIM_ALLOW" in self._answer(content, {}).get("symbols", {})

    def _answer(self, content: bytes, more: dict[str, str]) -> dict[str, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=START_SECONDS)
        try:
            connection.request("POST", "/checkv2", content, {"From": "a@example.org", **more})
            answer: dict[str, Any] = json.loads(connection.getresponse().read())
            return answer
        finally:
            connection.close()

    def wait(self) -> None:
        """Return when it answers."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            with suppress(OSError, ValueError):
                self._asked(b"From: a@example.org\r\n\r\n")
                return
            time.sleep(0.1)
        raise TimeoutError("rspamd does not answer")


@contextmanager
def running_rspamd(keys: Sequence[SigningKey], folder: Path) -> Iterator[Rspamd]:
    """Start it, wait for it, and end it."""
    with _names(keys) as names:
        port = _free_port()
        (folder / "rules.lua").write_text("config = {}\n")  # none of its own: only what the modules do
        selectors = ", ".join(_written(key, folder) for key in keys)
        (folder / "conf").write_text(CONFIGURATION.format(folder=folder, dns=names, http=port, selectors=selectors))
        command = ["rspamd", "-c", f"{folder}/conf", "-f", *_as_its_user(folder)]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            server = Rspamd(port, process.pid)
            server.wait()
            yield server
        finally:
            process.terminate()
            process.wait(START_SECONDS)


def _written(key: SigningKey, folder: Path) -> str:
    """A key in a file that rspamd can read, as its configuration names it."""
    path = folder / f"{key.selector}.key"
    path.write_bytes(pem(key))
    path.chmod(0o644)  # whatever the umask; a key of tests
    return f'{{ path = "{path}"; selector = "{key.selector}"; }}'


def _as_its_user(folder: Path) -> list[str]:
    """The options with which root starts it: it refuses to be root, and must reach its folder."""
    if os.getuid() != 0:
        return []
    shutil.chown(folder, USER, USER)
    for parent in folder.parents:  # pytest makes some for root alone
        mode = parent.stat().st_mode
        if not mode & stat.S_IXOTH:
            parent.chmod(stat.S_IMODE(mode) | stat.S_IXOTH)
    return ["-u", USER, "-g", USER]


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


@contextmanager
def _names(keys: Sequence[SigningKey]) -> Iterator[int]:
    """A DNS server that knows the keys' records and nothing else; its port."""
    records = {}
    for key in keys:
        line = zone_line(key.record_name, key.record).partition("( ")[2].removesuffix(" )")
        records[key.record_name] = dns.rrset.from_text(f"{key.record_name}.", 300, "IN", "TXT", line)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        thread = threading.Thread(target=_answer, args=(server, records), daemon=True)
        thread.start()
        yield int(server.getsockname()[1])
        server.sendto(b"", server.getsockname())
        thread.join(START_SECONDS)


def _answer(server: socket.socket, records: dict[str, dns.rrset.RRset]) -> None:
    """Answer until an empty datagram comes."""
    while True:
        wire, client = server.recvfrom(4096)
        if not wire:
            return
        with suppress(dns.exception.DNSException, IndexError):
            query = dns.message.from_wire(wire)
            reply = dns.message.make_response(query)
            found = records.get(str(query.question[0].name).rstrip(".").lower())
            if found and query.question[0].rdtype == found.rdtype:
                reply.answer.append(found)
            else:
                reply.set_rcode(dns.rcode.NXDOMAIN)
            server.sendto(reply.to_wire(), client)
