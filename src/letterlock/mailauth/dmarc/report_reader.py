"""Read an aggregate report as it is sent in practice: by RFC 9990, by RFC 7489, and by neither (RFC 9990 section 3.1).

What can be understood is kept, what cannot is named in `oddities`. Document types, entities and external references
are refused, and memory is bounded: each record becomes a row as soon as it ends.
"""

import io
import re
from collections.abc import Iterator
from ipaddress import ip_address
from xml.etree.ElementTree import Element, ParseError

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import iterparse

from letterlock.mail.unpacking import InvalidReport, ReportFormat, unpack
from letterlock.mailauth.dmarc.aggregate import (
    AggregateReport,
    PublishedPolicy,
    ReportedOverride,
    ReportRow,
    SenderResult,
    SignatureResult,
)

MAX_XML_OCTETS = 32 << 20  # reports of the largest receivers have 5 to 20 MB
MAX_ROWS = 25_000  # an address with one outcome each; the largest reports have some 20,000. They take 1.6 s of CPU
MAX_ELEMENTS = 1_000_000  # a row has about 30, and 25,000 rows are read
MAX_DEPTH = 16  # a report has 6 levels; extensions add one or two
MAX_INNER_ELEMENTS = 2_000  # of one record: signatures and reasons, with room
MAX_TEXT_CHARACTERS = 1_000  # of one value
MAX_ODDITIES = 20  # chosen: what a reader takes in
MAX_COUNT = 10**12  # chosen: more messages than anybody sends in a day; sums stay exact in JSON
MAX_TIME = 253_402_300_799  # the year 9999

_NUMBER = re.compile(r"[0-9]{1,15}")
_XML_ENCODING = re.compile(rb"<\?xml[^>]{0,200}encoding\s*=\s*[\"']([A-Za-z0-9._-]{1,40})[\"']")
_SCHEMA = re.compile(rb"<xs:schema\b[^>]{0,500}>\s*(?=<feedback)")  # some reporters copy it from the standard


def _begins(data: bytes) -> bool:
    return data.startswith((b"<", b"\xff\xfe", b"\xfe\xff"))  # the last two begin UTF-16


XML = ReportFormat(name="XML", suffix=".xml", max_octets=MAX_XML_OCTETS, begins=_begins)


def read_report(data: bytes) -> AggregateReport:
    """Read a report: XML, gzip, zip, or a mail with one of these. Raises InvalidReport."""
    xml = unpack(data, XML)
    encoding = _XML_ENCODING.match(xml[:512].lstrip(b"\xef\xbb\xbf \t\r\n"))
    if encoding is None or encoding[1].lower() in (b"utf-8", b"us-ascii"):
        try:
            xml.decode()
        except UnicodeDecodeError:  # seen in comments of reports; everything else in them is ASCII
            return _Reader(xml.decode("utf-8", "replace").encode(), "it is not UTF-8").report()
    return _Reader(xml).report()


class _Reader:
    def __init__(self, xml: bytes, oddity: str = "") -> None:
        self._xml = xml.strip(b" \t\r\n")
        self._oddities = [oddity] if oddity else []
        wrapped = _SCHEMA.search(self._xml[:1024])
        if wrapped:
            self._xml = self._xml[: wrapped.start()] + self._xml[wrapped.end() :].removesuffix(b"</xs:schema>")
            self._oddities.append("the report stands inside of an opening tag of its schema")
        self._rows: list[ReportRow] = []
        self._metadata: Element | None = None
        self._policy: Element | None = None

    def report(self) -> AggregateReport:
        """The whole report."""
        try:
            for element in self._children():
                self._take(element)
        except DefusedXmlException:
            raise InvalidReport("the XML has a document type or entities") from None
        except (ParseError, LookupError, ValueError) as error:  # LookupError: an encoding that Python does not know
            raise error if isinstance(error, InvalidReport) else InvalidReport("it is not well-formed XML") from None
        if self._policy is None or not _text(self._policy, "domain"):
            raise InvalidReport("it names no policy domain")
        return self._whole(self._metadata if self._metadata is not None else Element("report_metadata"), self._policy)

    def _children(self) -> Iterator[Element]:
        """The elements below the root, each when it is complete; it is forgotten after that."""
        stack: list[Element] = []
        elements = inner = 0
        for event, element in iterparse(io.BytesIO(self._xml), ("start", "end"), forbid_dtd=True):
            if event == "start":
                elements, inner = elements + 1, inner + 1
                stack.append(element)
                if len(stack) > MAX_DEPTH or elements > MAX_ELEMENTS or inner > MAX_INNER_ELEMENTS:
                    raise InvalidReport("it has more elements than a report can have")
                if len(stack) == 1 and _name(element) != "feedback":
                    raise InvalidReport("its root is not feedback")
                continue
            stack.pop()
            if len(stack) == 1:
                yield element
                stack[0].clear()
                inner = 0

    def _take(self, element: Element) -> None:
        match _name(element):
            case "report_metadata":
                self._metadata = element
            case "policy_published":
                self._policy = element
            case "record":
                self._take_row(element)

    def _take_row(self, element: Element) -> None:
        if len(self._rows) == MAX_ROWS:
            raise InvalidReport(f"it has more than {MAX_ROWS} records")
        try:
            self._rows.append(_row(element))
        except ValueError as error:
            self._odd(str(error))

    def _odd(self, oddity: str) -> None:
        if len(self._oddities) < MAX_ODDITIES:
            self._oddities.append(oddity)

    def _whole(self, metadata: Element, policy: Element) -> AggregateReport:
        dates = _child(metadata, "date_range")
        begin, end = (_number(_text(dates, name), MAX_TIME) for name in ("begin", "end"))
        if begin is None or end is None or begin > end:
            self._odd("the period of the report is missing or malformed")
        if not self._rows:
            self._odd("the report has no usable record")
        return AggregateReport(
            org_name=_text(metadata, "org_name"),
            email=_text(metadata, "email"),
            report_id=_text(metadata, "report_id"),
            begin=begin or 0,
            end=end or 0,
            policy=_published(policy),
            rows=tuple(self._rows),
            extra_contact_info=_text(metadata, "extra_contact_info"),
            generator=_text(metadata, "generator"),
            errors=tuple(_own_text(each) for each in _named(metadata, "error")[:MAX_ODDITIES]),
            oddities=tuple(self._oddities),
        )


def _published(policy: Element) -> PublishedPolicy:
    names = ("domain", "p", "sp", "np", "adkim", "aspf", "fo", "testing", "discovery_method", "pct")
    return PublishedPolicy(**{name: _text(policy, name) for name in names})


def _row(record: Element) -> ReportRow:
    """A record as a row. Raises ValueError with an oddity when it is of no use."""
    row, identifiers = _child(record, "row"), _child(record, "identifiers")
    evaluated, results = _child(row, "policy_evaluated"), _child(record, "auth_results")
    address = _text(row, "source_ip")
    try:
        source = str(ip_address(address))
    except ValueError:
        raise ValueError(f"a record has no usable source_ip: {address[:60]!r}") from None
    count = _number(_text(row, "count"), MAX_COUNT)
    if not count:
        raise ValueError(f"a record has no usable count: {_text(row, 'count')[:60]!r}")
    return ReportRow(
        source_ip=source,
        count=count,
        disposition=_text(evaluated, "disposition").lower(),
        dkim=_text(evaluated, "dkim").lower(),
        spf=_text(evaluated, "spf").lower(),
        header_from=_text(identifiers, "header_from").lower(),
        envelope_from=_optional(identifiers, "envelope_from"),
        envelope_to=_optional(identifiers, "envelope_to"),
        overrides=tuple(
            ReportedOverride(_text(each, "type"), _text(each, "comment")) for each in _named(evaluated, "reason")
        ),
        signatures=tuple(_signature(each) for each in _named(results, "dkim")),
        senders=tuple(_sender(each) for each in _named(results, "spf")),
    )


def _signature(element: Element) -> SignatureResult:
    return SignatureResult(
        domain=_text(element, "domain").lower(),
        selector=_text(element, "selector"),
        result=_text(element, "result").lower(),
        human_result=_text(element, "human_result"),
    )


def _sender(element: Element) -> SenderResult:
    return SenderResult(
        domain=_text(element, "domain").lower(),
        result=_text(element, "result").lower(),
        scope=_text(element, "scope").lower(),
        human_result=_text(element, "human_result"),
    )


def _name(element: Element) -> str:
    """The name without its namespace: reports use the right one, an older one, or none."""
    return str(element.tag).rpartition("}")[2]


def _named(parent: Element, name: str) -> list[Element]:
    return [each for each in parent if _name(each) == name]


def _child(parent: Element, name: str) -> Element:
    """The first child of a name, and an empty one where there is none."""
    return next((each for each in parent if _name(each) == name), Element(name))


def _own_text(element: Element) -> str:
    return (element.text or "").strip()[:MAX_TEXT_CHARACTERS]


def _text(parent: Element, name: str) -> str:
    return _own_text(_child(parent, name))


def _optional(parent: Element, name: str) -> str | None:
    found = _named(parent, name)
    return _own_text(found[0]).lower() if found else None


def _number(text: str, most: int) -> int | None:
    return int(text) if _NUMBER.fullmatch(text) and int(text) <= most else None
