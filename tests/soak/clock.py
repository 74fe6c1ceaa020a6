"""A wall clock that jumps, for one program only: libfaketime, told by a file. Monotonic time goes on as it does."""

from pathlib import Path

from tests.interop.programs import Unusable

HOUR = 3600
_PLACES = ("/usr/lib/*/faketime/libfaketimeMT.so.1", "/usr/lib/faketime/libfaketimeMT.so.1")


class JumpingClock:
    """`environment` makes a program read this clock; `jump` moves it, and the program sees that within a second."""

    def __init__(self, directory: Path) -> None:
        libraries = [str(path) for place in _PLACES for path in Path("/").glob(place.lstrip("/"))]
        if not libraries:
            raise Unusable("libfaketime is not there: run tools/debian-packages, or 'apt-get install faketime' as root")
        self._file = directory / "clock"
        self.jump(0)
        self.environment = {
            "LD_PRELOAD": libraries[0],
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }

    def jump(self, seconds: int) -> None:
        """Be so many seconds ahead of the true time (behind, if negative), from now on."""
        fresh = self._file.with_suffix(".new")
        fresh.write_text(f"{seconds:+d}\n")
        fresh.replace(self._file)
