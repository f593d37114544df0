"""What the parts about the relay run: networks with delay, relays, clusters on ``relay://`` and ``tls://``, many workers."""
