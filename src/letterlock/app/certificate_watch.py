"""Watching the server's own certificates: files that change are read again, and one that ends soon is warned of."""

import asyncio
import logging
import time
from collections.abc import Callable
from pathlib import Path

from letterlock.config import Options
from letterlock.config.reload_effects import contexts, with_contexts
from letterlock.net.file_states import FileState, file_states
from letterlock.net.tls import BadCertificate, ServerContext

log = logging.getLogger("letterlock.certificates")
LOOK_SECONDS = 5.0  # between two looks at the files: four system calls, and a new certificate is shown soon
WARN_SECONDS = 86400.0  # once a day is often enough to be seen, and seldom enough to be read


class CertificateWatch:
    """Looks at the files of the certificates that are in use."""

    def __init__(self, options: Callable[[], Options], apply: Callable[[Options], None]) -> None:
        """`options` gives those in use, `apply` is called with others when certificates were renewed."""
        self._options = options
        self._apply = apply
        self._refused: dict[tuple[Path, Path], tuple[FileState, ...]] = {}  # as they could not be used
        self._warned_at = time.time()  # at start, they are among the dangerous settings

    async def run(self, *, warns: bool) -> None:
        """Look at intervals; `warns`: and log once a day what is wrong, which one of several workers does."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            self.look()
            if warns:
                self.warn(time.time())

    def look(self) -> None:
        """Read again what has changed since it was read. A pair that does not fit is left until it changes again."""
        renewed: dict[ServerContext, ServerContext] = {}
        for context in contexts(self._options()):
            paths = context.certificate_path, context.key_path
            states = file_states(*paths)
            if states in (context.files, self._refused.get(paths)):
                continue
            if (made := _read(*paths)) is not None:
                renewed[context] = made
            else:
                self._refused[paths] = states
        if renewed:
            self._apply(with_contexts(self._options(), lambda context: renewed.get(context, context)))

    def warn(self, now: float) -> None:
        """Log once a day what is wrong with a certificate, or soon will be."""
        if 0 <= now - self._warned_at < WARN_SECONDS:
            return
        self._warned_at = now
        for context in contexts(self._options()):
            if warning := context.warning(now):
                log.warning("%s", warning)


def _read(certificate: Path, key: Path) -> ServerContext | None:
    try:
        context = ServerContext.load(certificate, key)
    except BadCertificate as error:  # half replaced, perhaps: the other half comes within a moment
        log.warning("%s: the server goes on with the certificate that it has", error)
        return None
    log.info("the certificate in %s was renewed: new sessions get it", certificate)
    return context
