"""Relays as the keeper uses them: the facility's or one of its own, a lease for each cluster, credentials for each job."""
