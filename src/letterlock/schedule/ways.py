"""How deliveries to a next hop see the outside world: by the settings of its route."""

import functools
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from letterlock.deliver.decision_cache import DecisionCache
from letterlock.deliver.options import DeliverOptions
from letterlock.deliver.route_settings import RouteSettings, SettingsByRoute
from letterlock.deliver.session import EvidenceSource, Ports, TakeReport
from letterlock.net.sources import SourceAddresses
from letterlock.ports import Clock, Dialer
from letterlock.sasl.client_login import Credentials

MAX_SETTINGS_REMEMBERED = 1000  # next hops: finding a route again costs microseconds
_T = TypeVar("_T")


class Ways:
    """The ports and options of deliveries: from the route's source address, without the extensions that it ignores."""

    def __init__(
        self,
        dialer_from: Callable[[SourceAddresses], Dialer],
        clock: Clock,
        chance: random.Random,
        take_report: TakeReport | None = None,
    ) -> None:
        """`dialer_from` makes who dials from given addresses. `reload` comes before anything else."""
        self._dialer_from = dialer_from
        self._clock = clock
        self._chance = chance
        self._take_report = take_report

    def reload(self, options: DeliverOptions, route_settings: SettingsByRoute, discoverer: EvidenceSource) -> None:
        """Deliver by these from now on."""
        self._options, self._discoverer = options, discoverer
        self._by_sender = bool(route_settings.by_sender)
        self._settings = functools.lru_cache(maxsize=MAX_SETTINGS_REMEMBERED)(route_settings.of)
        self._way = functools.lru_cache(maxsize=MAX_SETTINGS_REMEMBERED)(self._find_way)
        self._decision_cache = DecisionCache()
        self._ways: dict[tuple[SourceAddresses, frozenset[str], Credentials | None], tuple[Ports, DeliverOptions]] = {}

    def settings(self, next_hop: str, sender: str | None) -> RouteSettings:
        """The terms for mail to a next hop from a sender's domain, which counts only where routes go by it."""
        return self._settings(next_hop, sender) if self._by_sender else self._settings(next_hop)

    def of(self, next_hop: str, sender: str | None) -> tuple[Ports, DeliverOptions]:
        """The way to a next hop, for mail from a sender's domain."""
        return self._way(next_hop, sender if self._by_sender else None)

    def _find_way(self, next_hop: str, sender: str | None) -> tuple[Ports, DeliverOptions]:
        settings = self.settings(next_hop, sender)
        key = settings.source, settings.ignore_ehlo, settings.login
        if key not in self._ways:
            self._ways[key] = self._made(settings)
        return self._ways[key]

    def _made(self, settings: RouteSettings) -> tuple[Ports, DeliverOptions]:
        ports = Ports(
            discoverer=self._discoverer,
            dialer=self._dialer_from(settings.source),
            clock=self._clock,
            shuffle=self._shuffled,
            decision_cache=self._decision_cache,
            take_report=self._take_report,
        )
        options = replace(self._options, source=settings.source, ignore_ehlo=settings.ignore_ehlo, login=settings.login)
        return ports, options

    def _shuffled(self, items: Sequence[_T], /) -> Sequence[_T]:
        return self._chance.sample(items, len(items)) if len(items) > 1 else items
