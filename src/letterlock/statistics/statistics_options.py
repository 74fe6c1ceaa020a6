"""The options of statistics, with the keys of the configuration that fill them."""

from dataclasses import dataclass
from typing import Annotated

from letterlock.keys import Key
from letterlock.shares import EACH
from letterlock.state.statistics_rows import KeptPeriods


@dataclass(frozen=True, slots=True, kw_only=True)
class StatisticsOptions:
    """Whether attempts are counted, and how much is kept. All workers write into one file, so nothing is divided."""

    count: Annotated[
        bool,
        Key(
            "statistics.count",
            "Count every delivery attempt by destination, for `letterlock stats`. Off: nothing is counted, and "
            "counting costs nothing; what was counted before stays.",
            restart=True,
        ),
    ] = True
    destinations: Annotated[
        int,
        EACH,
        Key(
            "statistics.destinations",
            "Destinations that every hour, day and month keeps by name, those with the most attempts; the attempts of "
            "the rest are counted together as `(other)`.",
            least=1,
            most=100_000,
        ),
    ] = 1_000
    keep_hours: Annotated[
        int,
        EACH,
        Key("statistics.keep_hours", "Hours that are kept one by one.", least=1, most=24 * 366),
    ] = 7 * 24
    keep_days: Annotated[
        int,
        EACH,
        Key("statistics.keep_days", "Days that are kept one by one.", least=1, most=3_660),
    ] = 400
    keep_months: Annotated[
        int,
        EACH,
        Key("statistics.keep_months", "Months that are kept one by one.", least=1, most=1_200),
    ] = 120

    @property
    def kept(self) -> KeptPeriods:
        """The same for the database."""
        return KeptPeriods(
            hours=self.keep_hours, days=self.keep_days, months=self.keep_months, destinations=self.destinations
        )
