"""The options of reports, with the keys of the configuration that fill them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from letterlock.keys import Key
from letterlock.mail.addresses import Mailbox


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportingOptions:
    """What is counted, and what is sent. Everything is off unless it is asked for, and costs nothing then."""

    collect: Annotated[
        bool,
        Key(
            "tls_reports.collect",
            "Count the TLS of every session by recipients' domain, for `letterlock reports outgoing` and for reports.",
            restart=True,
        ),
    ] = False
    send: Annotated[
        bool,
        Key(
            "tls_reports.send",
            "Send a report (RFC 8460) every day to the domains that ask for one; counts too, whatever `collect` says.",
            restart=True,
        ),
    ] = False
    tls_from: Annotated[
        Mailbox | None,
        Key(
            "tls_reports.from",
            "The author of reports, and the contact named in them; `[dkim]` needs a key for its domain. "
            "Unset: `tls-reports@` and the `hostname`.",
            restart=True,
        ),
    ] = None
    tls_organization: Annotated[
        str | None,
        Key(
            "tls_reports.organization",
            "The name of the organization that reports, for people. Unset: the domain of `from`.",
            restart=True,
        ),
    ] = None
    postfix_socket: Annotated[
        Path | None,
        Key(
            "tls_reports.postfix_socket",
            "A UNIX socket on which Postfix 3.10 and later hand over their results "
            "(`smtp_tlsrpt_enable`, `smtp_tlsrpt_socket_name`); they are counted with our own.",
            restart=True,
        ),
    ] = None
    emit_socket: Annotated[
        Path | None,
        Key(
            "tls_reports.emit_socket",
            "The socket of another collector, such as tlsrpt-collectd: our results are sent there as libtlsrpt "
            "would, for domains that ask for reports.",
            restart=True,
        ),
    ] = None
    dmarc_send: Annotated[
        bool,
        Key(
            "dmarc_reports.send",
            "Count the messages that `mail_authentication` judges, and send an aggregate report (RFC 9990) every day "
            "to the domains that ask for one.",
            restart=True,
        ),
    ] = False
    dmarc_from: Annotated[
        Mailbox | None,
        Key(
            "dmarc_reports.from",
            "The author of DMARC reports, and the contact named in them. Unset: `dmarc-reports@` and the `hostname`.",
            restart=True,
        ),
    ] = None
    dmarc_organization: Annotated[
        str | None,
        Key(
            "dmarc_reports.organization",
            "The name of the organization that reports, for people. Unset: the domain of `from`.",
            restart=True,
        ),
    ] = None

    @property
    def counts_tls(self) -> bool:
        """Whether sessions of ours are looked at."""
        return self.collect or self.send or self.emit_socket is not None

    @property
    def is_on(self) -> bool:
        """Whether there is anything to do."""
        return self.counts_tls or self.dmarc_send or self.postfix_socket is not None
