"""The relay's service: ``hub`` is the data plane, one port where both ends of a connection meet.

``gate`` takes connections and reads where they want to go; ``tls`` and ``controls`` are for peers that register,
``rendezvous`` and ``splice`` for those that connect. ``registry`` says which clusters there are.

``service`` runs it from a configuration file. ``admission`` is its HTTP, ``leases`` and ``store`` say until when a cluster is
admitted, ``identities`` who asks.
"""
