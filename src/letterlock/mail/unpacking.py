"""A report in whatever it came: plain, gzip, zip, or a mail with one of them; labels are not believed.

TLS reports (JSON, RFC 8460) and DMARC reports (XML, RFC 9990) arrive in the same way. The sender of a report chooses
its bytes, so everything is bounded before it is done: the input, what comes out of a decompression, the directory of an
archive, the parts of a mail.
"""

import email
import email.message
import io
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass

MAX_PACKED_OCTETS = 25 << 20  # as large as mail gets
MAX_ENTRIES_OCTETS = 64 << 10  # of an archive's directory: a report is one file, with 100 bytes there
MAX_PARTS = 50  # of a mail: a report has two or three

_GZIP, _ZIP, _END_OF_DIRECTORY = b"\x1f\x8b", b"PK\x03\x04", b"PK\x05\x06"
_END_OCTETS = 22  # of the record that ends an archive, without its comment
_MAX_COMMENT_OCTETS = 1 << 16  # a ZIP file ends with a comment of at most 65,535 (APPNOTE 4.4.12)
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_LOOKED_AT_OCTETS = 1024  # to find out what a file is


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportFormat:
    """What is looked for. `begins` is called with the first bytes of a file, without white space before them.

    `name` is for people: XML, JSON. `suffix` is preferred among the files of an archive.
    """

    name: str
    suffix: str
    max_octets: int
    begins: Callable[[bytes], bool]


class InvalidReport(ValueError):
    """What came is no report. `str()` says why; it holds no text from outside but names of elements."""


def unpack(data: bytes, form: ReportFormat) -> bytes:
    """The document in the data; of a mail that in its first part that has one. Raises InvalidReport."""
    if len(data) > MAX_PACKED_OCTETS:
        raise InvalidReport(f"it is larger than {MAX_PACKED_OCTETS >> 20} MB")
    found = _unpacked(data, form)
    return found if found is not None else _from_mail(data, form)


def _unpacked(data: bytes, form: ReportFormat) -> bytes | None:
    """The document in a file, by what the file begins with; None for what is none of the three."""
    if data.startswith(_GZIP):
        return _gunzipped(data, form)
    if data.startswith(_ZIP):
        return _unzipped(data, form)
    if not form.begins(data[:_LOOKED_AT_OCTETS].removeprefix(_BYTE_ORDER_MARK).lstrip()):
        return None
    if len(data) > form.max_octets:
        raise InvalidReport(f"the {form.name} is larger than {form.max_octets >> 20} MB")
    return data


def _gunzipped(data: bytes, form: ReportFormat) -> bytes:
    unpacker = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)  # 16: with the header of gzip
    try:
        found = unpacker.decompress(data, form.max_octets + 1)
    except zlib.error:
        raise InvalidReport("the gzip data is damaged") from None
    if len(found) > form.max_octets:
        raise InvalidReport(f"it unpacks to more than {form.max_octets >> 20} MB")
    if not unpacker.eof:
        raise InvalidReport("the gzip data is cut off")
    return found


def _unzipped(data: bytes, form: ReportFormat) -> bytes:
    """The first file of an archive."""
    _require_small_directory(data)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            files = [each for each in archive.infolist() if not each.is_dir()]
            if not files:
                raise InvalidReport("the archive is empty")
            chosen = next((each for each in files if each.filename.lower().endswith(form.suffix)), files[0])
            if chosen.flag_bits & 1 or chosen.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise InvalidReport("the archive is encrypted, or packed in an uncommon way")
            with archive.open(chosen) as packed:
                found = packed.read(form.max_octets + 1)
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, OSError, NotImplementedError) as error:
        raise error if isinstance(error, InvalidReport) else InvalidReport("the archive is damaged") from None
    if len(found) > form.max_octets:
        raise InvalidReport(f"it unpacks to more than {form.max_octets >> 20} MB")
    return found


def _require_small_directory(data: bytes) -> None:
    """Refuse an archive of many files before anything reads its directory."""
    tail = data[-(_END_OCTETS + _MAX_COMMENT_OCTETS) :]
    at = tail.rfind(_END_OF_DIRECTORY)
    if at < 0 or len(tail) - at < _END_OCTETS:
        raise InvalidReport("the archive is cut off")
    if int.from_bytes(tail[at + 12 : at + 16], "little") > MAX_ENTRIES_OCTETS:  # also that of ZIP64: all bits are set
        raise InvalidReport("the archive has too many files")


def _from_mail(data: bytes, form: ReportFormat) -> bytes:
    try:
        message = email.message_from_bytes(data)
        for number, part in enumerate(message.walk()):
            if number > MAX_PARTS:
                break
            found = _of_part(part, form)
            if found is not None:
                return found
    except (RecursionError, LookupError, UnicodeError, ValueError) as error:  # the parser lets these out
        raise error if isinstance(error, InvalidReport) else InvalidReport("the mail cannot be read") from None
    raise InvalidReport(f"it is neither {form.name}, gzip, zip, nor a mail with one of these")


def _of_part(part: email.message.Message, form: ReportFormat) -> bytes | None:
    if part.is_multipart():
        return None
    body = part.get_payload(decode=True)
    if not isinstance(body, bytes) or part.get_content_type() == "text/html":
        return None
    return _unpacked(body, form)
