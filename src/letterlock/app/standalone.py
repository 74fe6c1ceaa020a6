"""The doors alone: a process without listeners for mail and without a queue."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from letterlock.admin.server import ControlFailed, ControlServer
from letterlock.app.beside import beside
from letterlock.app.binding import StartFailed
from letterlock.app.checking import is_running
from letterlock.app.directories import take_directory
from letterlock.app.doors import Doors, bind_doors, open_doors, refuse_loop
from letterlock.app.resolving import discovering, examine_upstreams, validated_dns
from letterlock.app.system_clock import SystemClock
from letterlock.config import Options
from letterlock.discover.anchor_keeper import AnchorKeeper
from letterlock.queue.folders import CONTROL_SOCKET
from letterlock.queue.store import StoreFailed
from letterlock.state.shared_state import open_state


def _no_queue() -> None:
    """There is nothing to wake."""


@asynccontextmanager
async def doors_alone(options: Options) -> AsyncIterator[Doors]:
    """The doors of a configuration from start to orderly end. Raises StartFailed."""
    if is_running(options):
        hint = "`letterlock serve` opens the doors of its configuration itself"
        raise StartFailed(f"a server of this configuration is running\n  hint: {hint}")
    async with AsyncExitStack() as stack:
        sockets = bind_doors(options)
        stack.callback(sockets.close)
        take_directory(options)
        asked = await stack.enter_async_context(validated_dns(options.resolver, keeps_sections=True))
        refuse_loop(options, asked.upstreams)
        try:
            state = open_state(options.store.engine, options.state_directory)
            stack.push_async_callback(state.close)
            discoverer = await stack.enter_async_context(discovering(options, asked, state))
            doors = Doors(options, asked.resolver, discoverer, SystemClock())
            path = options.queue_directory / CONTROL_SOCKET
            control = ControlServer(
                None, path, clock=SystemClock(), wake=_no_queue, verbs=doors.operating.control_verbs
            )
            await control.start()
            stack.push_async_callback(control.stop)
        except (StoreFailed, ControlFailed) as error:
            raise StartFailed(f"{error}\n  hint: {error.hint}") from None
        keeper = AnchorKeeper(asked.resolver, state.trust_point, SystemClock())
        keeper.restore()
        await stack.enter_async_context(open_doors(doors, sockets))
        async with asyncio.TaskGroup() as group:
            others = {"looking at upstreams": lambda: examine_upstreams(asked), "following trust anchors": keeper.run}
            aside = [group.create_task(beside(what, run)) for what, run in others.items()]
            try:
                yield doors
            finally:
                for task in aside:
                    task.cancel()
