"""Every family of metrics that workers count. docs/reference/metrics.md is made from this list."""

from letterlock.mailauth.dmarc.actions import Action
from letterlock.memory.remembered import Difference
from letterlock.metrics.family import Family, Layout, Merge, MetricKind
from letterlock.policy.codes import Code
from letterlock.policy.decision import Level
from letterlock.queue.orders import AGES, OLDER, RecipientState
from letterlock.queue.refusals import OTHER_STATUS, SUBJECTS
from letterlock.queue.sessions import ImplicitTry
from letterlock.queue.tasks import OutcomeKind
from letterlock.resolver.answer import FailureKind, Security

OTHER = OTHER_STATUS
EXPIRED = "expired"
LOCAL = "local"
NONE = "none"
TLS_VERSIONS = ("TLSv1.2", "TLSv1.3", OTHER)
PROTECTIONS = (*(each.value for each in Level), LOCAL, NONE)
VERIFIED_BY = (
    "dane-ee", "dane-ta", "pkix", "mta-sts", "fingerprint", "memory",
    "dane-ee-unsigned-mx", "dane-ta-unsigned-mx", "pkix-unsigned-name",
)  # fmt: skip
STATUSES = (*(f"4.{each}" for each in SUBJECTS), *(f"5.{each}" for each in SUBJECTS), OTHER)
CODES = tuple(each.value for each in Code)
DANE_RESULTS = ("ok", "unusable", "not_applicable", "insecure_chain", "tempfail")
STS_RESULTS = ("enforce", "testing", "none", "unavailable", "mx_mismatch")
LOOKUP_RESULTS = (
    "cached",
    *(each.value for each in Security if each is not Security.BOGUS),  # a bogus answer is a failure, and among those
    *(each.value for each in FailureKind),
)
AUTHENTICATION_METHODS = ("spf", "dkim", "dmarc", "arc")
AUTHENTICATION_RESULTS = (
    "pass", "fail", "softfail", "neutral", "none", "policy", "temperror", "permerror",
)  # fmt: skip
POLICY_ANSWERS = {b"OK": "policy", b"NOTFOUND": "not_found", b"TEMP": "temporary", b"PERM": "permanent"}
"""The word that an answer of the policy door begins with (socketmap_table(5)), and its name here."""
RCODES = ("noerror", "formerr", "servfail", "nxdomain", "notimp", "refused", OTHER)
"""By their numbers (RFC 1035 section 4.1.1); what is beyond is not sent."""
COUNTS = ("statistics", "reports")
FILTER_KINDS = ("milter", "policy_service")
FILTER_RESULTS = ("passed", "rejected", "put_off", "discarded", "quarantined", "failed")
COMMANDS = ("connect", "mail", "rcpt", "message", OTHER)
_IN_QUEUE = (
    RecipientState.WAITING,
    RecipientState.DEFERRED,
    RecipientState.LEASED,
    RecipientState.HELD,
    RecipientState.QUARANTINED,
)
QUEUE_STATES = tuple(each.value for each in _IN_QUEUE)
QUEUE_AGES = (*(name for name, _ in AGES), OLDER)
LIMITS = {
    "max_connections": "[smtp] max_connections: a client was turned away",
    "max_connections_per_client": "[smtp] max_connections_per_client: a client was turned away",
    "memory_in": "memory_octets: mail was put off with 452",
    "min_free_octets": "[queue] min_free_octets, or a full disk: mail was put off with 452",
    "max_message_octets": "[smtp] max_message_octets: a message was refused",
    "max_line_octets": "[smtp] max_line_octets: a message was refused",
    "header": "a message whose header section has more than 1 MiB was refused",
    "max_recipients": "[smtp] max_recipients: a recipient was put off with 452",
    "max_hops": "a message with too many Received fields was refused",
    "bad_commands": "a client made too many mistakes",
    "idle_commands": "a client sent too many commands without mail",
    "command_line": "a command line was too long",
    "receive_timeout": "[smtp] command_timeout_seconds or message_timeout_seconds: a client was too slow",
    "login_failures": "logins were put off after too many failures",
    "rate_connections": "[limit] connections: a client was turned away",
    "rate_messages": "[limit] messages: a message was put off",
    "rate_recipients": "[limit] recipients: a recipient was put off",
    "rate_octets": "[limit] octets: a message was put off",
    "max_concurrent": "[delivery] max_concurrent: mail that was due waited for another delivery to end",
    "max_concurrent_per_destination": "[delivery] max_concurrent_per_destination, or fewer after trouble there: "
    "mail that was due stayed in the queue",
    "max_handshakes_per_host": "[delivery] max_handshakes_per_host: a delivery waited",
    "max_connections_per_host": "[delivery] max_connections_per_host: a delivery waited",
    "max_idle_sessions": "[delivery] max_idle_sessions, or max_connections_per_host: a kept session was ended for "
    "another one",
    "memory_out": "memory_octets: a delivery waited",
    "max_waiting": "no room for deliveries that wait",
    "max_sessions": "an attempt opened as many sessions as it may, and ended",
    "policy_connections": "[policy_server] max_connections: a client was turned away",
    "resolver_connections": "[resolver] max_connections: a client was turned away",
    "resolver_lookups": "a slow lookup gave way to others",
    "resolver_budget": "a lookup cost more work than one may",
}
DELIVERY_SECONDS = (1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3_600.0, 14_400.0, 86_400.0)  # the ages of the queue, and less
LOOKUP_SECONDS = (0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)  # up to the longest time that one query may take


def _counter(name: str, text: str, **labels: tuple[str, ...]) -> Family:
    return Family(name=f"letterlock_{name}", kind=MetricKind.COUNTER, text=text, labels=tuple(labels.items()))


def _gauge(name: str, text: str, merge: Merge = Merge.SUM, **labels: tuple[str, ...]) -> Family:
    return Family(
        name=f"letterlock_{name}", kind=MetricKind.GAUGE, text=text, labels=tuple(labels.items()), merge=merge
    )


def _histogram(name: str, text: str, buckets: tuple[float, ...]) -> Family:
    return Family(name=f"letterlock_{name}", kind=MetricKind.HISTOGRAM, text=text, buckets=buckets)


def _process(name: str, kind: MetricKind, text: str, merge: Merge = Merge.SUM) -> Family:
    return Family(name=f"process_{name}", kind=kind, text=text, merge=merge)


def _hidden(name: str) -> Family:
    return Family(name=name, kind=MetricKind.GAUGE, text="", merge=Merge.MOST, hidden=True)


FAMILIES = (
    # Receiving
    _counter(
        "messages_received_total",
        "Messages accepted and on disk, by who sent them.",
        source=("client", LOCAL, "notification"),
    ),
    _counter("received_bytes_total", "Bytes of the messages accepted."),
    _counter("recipients_received_total", "Recipients of the messages accepted."),
    _counter("inbound_connections_total", "Connections accepted."),
    _gauge("inbound_connections", "Connections of clients that are open."),
    _counter("inbound_tls_handshakes_total", "TLS handshakes of clients that were finished.", version=TLS_VERSIONS),
    _counter("inbound_tls_failures_total", "TLS handshakes of clients that failed."),
    _counter(
        "inbound_rejections_total",
        "Negative replies to clients, by the command and the first digit of the reply.",
        command=COMMANDS,
        reply=("4", "5"),
    ),
    _counter(
        "inbound_aborted_total",
        "Connections that ended without QUIT: lost, or too slow.",
        cause=("lost", "timeout"),
    ),
    _counter("authentications_total", "Logins of users.", result=("accepted", "failed")),
    _counter(
        "mail_authentication_results_total",
        "Results for mail from elsewhere: SPF (of MAIL FROM), DMARC and ARC once per message, DKIM once per signature, "
        "or none.",
        method=AUTHENTICATION_METHODS,
        result=AUTHENTICATION_RESULTS,
    ),
    _counter(
        "mail_authentication_actions_total",
        "Decisions about such mail, as `[mail_authentication]` says.",
        action=tuple(each.value for each in Action),
    ),
    _counter(
        "filter_answers_total",
        "Senders, recipients and messages that milters and policy services decided on; failed are those about which "
        "they could not be asked.",
        kind=FILTER_KINDS,
        result=FILTER_RESULTS,
    ),
    # Delivering
    _counter("attempts_total", "Attempts to deliver a message to a next hop."),
    _counter(
        "deliveries_total",
        "Recipients of attempts, by what became of them and how the last session was protected. Authenticated, "
        "encrypted and clear are what TLS reached, local is a Maildir or LMTP on this machine, none is no session.",
        result=tuple(each.value for each in OutcomeKind),
        protection=PROTECTIONS,
    ),
    _counter(
        "deliveries_verified_total",
        "Recipients delivered in sessions with a verified server, by what verified it. A match that rests on unsigned "
        "DNS counts as encrypted, not as authenticated.",
        by=VERIFIED_BY,
    ),
    _counter(
        "deferrals_total",
        "Recipients deferred, by the reason code of the policy that held them, or else by class and subject of the "
        "enhanced status code.",
        reason=(*CODES, *STATUSES),
    ),
    _counter(
        "bounces_total",
        "Recipients that failed for good, by the same reasons; expired is mail that was deferred for its lifetime.",
        reason=(*CODES, *STATUSES, EXPIRED),
    ),
    _histogram("delivery_seconds", "Time from acceptance to delivery, per recipient.", DELIVERY_SECONDS),
    _gauge("last_delivery_timestamp_seconds", "When a recipient was last delivered; 0 is never.", Merge.MOST),
    _gauge("deliveries_in_progress", "Deliveries in progress."),
    _gauge("deliveries_waiting", "Deliveries that wait in memory for others to end."),
    _counter(
        "outbound_sessions_total",
        "Sessions with servers: cleared for mail, refused by the policy, or failed before that was known.",
        result=("cleared", "refused", "failed"),
    ),
    _counter("outbound_sessions_reused_total", "Messages that went over a session that another had opened."),
    _counter("outbound_tls_handshakes_total", "TLS handshakes with servers that were finished.", version=TLS_VERSIONS),
    _counter(
        "implicit_tls_total",
        "Tries of TLS before SMTP at hosts that announce it, by what came of them; `opened` was used, all others went "
        "on with STARTTLS.",
        result=tuple(each.value for each in ImplicitTry),
    ),
    _counter("outbound_tls_failures_total", "TLS handshakes with servers that failed."),
    _counter(
        "dane_results_total",
        "Decisions about DANE, one per host of an attempt, in the words of KumoMTA's dane_result_count: ok has usable "
        "TLSA records, unusable has signed ones that nobody can use, not_applicable proves that there are none, "
        "insecure_chain has no signed chain to the host, tempfail could not find out, and the mail is deferred.",
        result=DANE_RESULTS,
    ),
    _counter(
        "mta_sts_results_total",
        "Decisions about hosts of domains that announce an MTA-STS policy, counted in the same way: the mode of the "
        "policy, unavailable if it could not be fetched and none is remembered, mx_mismatch if it does not name the "
        "host.",
        result=STS_RESULTS,
    ),
    _counter(
        "mta_sts_blocked_total",
        "Decisions by a remembered MTA-STS policy that could not be confirmed (RFC 8461 section 10.2).",
    ),
    # Memory
    _gauge("memory_domains", "Domains that are remembered.", Merge.MOST),
    _gauge("memory_alarms", "Domains at which something that was always there is gone.", Merge.MOST),
    _counter(
        "memory_changes_total",
        "Times that something which a domain or host always had was gone, by what it is.",
        what=tuple(each.value for each in Difference),
    ),
    _counter("memory_lost_total", "Sightings of hosts that were not worked into the memory."),
    # The queue
    _gauge("queue_messages", "Messages in the queue."),
    _gauge(
        "queue_tasks",
        "Parts of messages that go to one next hop, by state.",
        state=QUEUE_STATES,
    ),
    _gauge("queue_tasks_by_age", "The same by age since acceptance, each up to that age.", age=QUEUE_AGES),
    _gauge("queue_bytes", "Bytes of the tasks in the queue."),
    _gauge("queue_oldest_age_seconds", "Age of the oldest message in the queue.", Merge.MOST),
    # DNS
    _counter(
        "resolver_lookups_total",
        "Lookups: answered from the cache, found with this security, or failed for this reason.",
        result=LOOKUP_RESULTS,
    ),
    _histogram("resolver_lookup_seconds", "Time of lookups that the cache could not answer.", LOOKUP_SECONDS),
    _counter("resolver_queries_total", "Queries to upstreams.", result=("answered", "failed")),
    _counter("resolver_strays_total", "Datagrams that answered no query of ours: forgeries, or late replies."),
    _gauge("resolver_cache_entries", "Answers in the cache."),
    _gauge("resolver_cache_bytes", "An estimate of what they take."),
    _gauge(
        "resolver_upstreams",
        "Upstreams by fitness for validation; unfit ones strip signatures, for example. failing do not answer now.",
        Merge.MOST,
        state=("fit", "unfit", "failing"),
    ),
    # The doors for another mail server
    _counter(
        "policy_door_answers_total",
        "Answers of the policy door: a policy, none, a temporary failure, or a question that it does not take.",
        answer=tuple(POLICY_ANSWERS.values()),
    ),
    _gauge("policy_door_connections", "Connections to the policy door that are open."),
    _counter("resolver_door_responses_total", "Responses of the resolver door, by RCODE.", rcode=RCODES),
    _gauge("resolver_door_connections", "TCP connections to the resolver door that are open."),
    # Limits
    _counter("limit_hits_total", "Limits that were reached.", limit=tuple(LIMITS)),
    _gauge(
        "counts_unwritten",
        "1 while what is counted for `letterlock stats` or for reports to other domains cannot be written down.",
        Merge.MOST,
        of=COUNTS,
    ),
    # The processes
    _counter("worker_starts_total", "Starts of workers: more than there are workers means that some ended."),
    _counter("event_loop_stalls_total", "Times that a worker stood still for more than a second."),
    _counter("observer_losses_total", "Events that an observer (log, metrics) failed to take because of a bug."),
    _process("cpu_seconds_total", MetricKind.COUNTER, "User and system CPU time of all workers, in seconds."),
    _process(
        "resident_memory_bytes", MetricKind.GAUGE, "Resident memory of all workers; what they share counts for each."
    ),
    _process("open_fds", MetricKind.GAUGE, "Open file descriptors of the worker that has the most.", Merge.MOST),
    _process("max_fds", MetricKind.GAUGE, "Most file descriptors that one worker may have open.", Merge.LEAST),
    _process(
        "start_time_seconds", MetricKind.GAUGE, "When the oldest worker began, in seconds since 1970.", Merge.LEAST
    ),
    _hidden("alive_at"),
    _hidden("process_id"),
    _hidden("cpu_seconds"),
)
LAYOUT = Layout.of(FAMILIES)
