"""The relay: Dask whose workers can only dial out. It stands by itself; nothing else of this project is needed.

``comm`` is the Dask communication backend of ``relay://<peer>`` and needs ``distributed`` alone. ``hub`` is the service that
joins the two ends on one TLS port. ``docs/reference/relay-protocol.md`` is the contract between them.
"""
