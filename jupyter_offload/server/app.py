"""The Jupyter server extension: what it serves, its knobs, and what runs beside the requests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jupyter_server.extension.application import ExtensionApp, ExtensionAppJinjaMixin
from traitlets import Bool, Float, Integer

from ..api import locations
from ..api.routes import PREFIX
from .changes import SCHEMA_ID, SCHEMA_PATH, ChangeRelay
from .dashboards import DashboardPage, TicketHandler
from .forward import ForwardHandler
from .keeper_link import KeeperLink
from .proxy import ViewHandler
from .tickets import TicketBook
from .unix_http import new_client

_HERE = Path(__file__).parent


class OffloadApp(ExtensionAppJinjaMixin, ExtensionApp):
    """Authenticates, authorises and forwards; relays changes as events; shows dashboards. The keeper does the rest."""

    name = "jupyter_offload"
    app_name = "Jupyter Offload"
    static_paths = [str(_HERE / "static")]
    template_paths = [str(_HERE / "templates")]

    keeper_timeout_s = Float(75, min=1, help="Seconds to wait for the keeper's answer to one request.").tag(config=True)
    maximum_request_bytes = Integer(1 << 20, min=1024, help="Largest request body, in bytes.").tag(config=True)
    follow_changes = Bool(
        True, help="Send changes of clusters as Jupyter events. Without it, Lab asks every 30 s."
    ).tag(config=True)

    def initialize_settings(self) -> None:
        """Make what the handlers share."""
        assert self.serverapp is not None
        events = self.serverapp.event_logger
        assert events is not None
        events.register_event_schema(SCHEMA_PATH)

        def emit(changes: dict[str, Any]) -> None:
            events.emit(schema_id=SCHEMA_ID, data=changes)

        self._http = new_client()
        self._link = KeeperLink(self._http, self.keeper_timeout_s)
        self._relay = ChangeRelay(self._link, emit, self.log)
        self._tickets = TicketBook()

    def initialize_handlers(self) -> None:
        """List the routes; the first that fits serves."""
        shared = {"link": self._link}
        one = rf"{PREFIX}/clusters/(?P<cluster>[^/]+)/dashboard"
        self.handlers.extend(
            [
                (rf"{PREFIX}/view/.*", ViewHandler, {**shared, "tickets": self._tickets, "http": self._http}),
                (rf"{one}/ticket", TicketHandler, {**shared, "tickets": self._tickets}),
                (rf"{one}/", DashboardPage, shared),
                (
                    rf"{PREFIX}/.*",
                    ForwardHandler,
                    {**shared, "touch": self._touch, "maximum_bytes": self.maximum_request_bytes},
                ),
            ]
        )

    def _touch(self) -> None:
        if self.follow_changes:
            self._relay.touch()

    async def _start_jupyter_server_extension(self, serverapp: Any) -> None:
        # Clusters of an earlier session need a keeper even if nobody opens the panel.
        if (locations.data_folder() / "records.sqlite").exists():
            self._touch()

    async def stop_extension(self) -> None:
        """End what runs beside the requests; keeper and clusters go on."""
        await self._relay.stop()
        self._http.close()
