"""What crosses the keeper's socket, and how every door speaks it."""
