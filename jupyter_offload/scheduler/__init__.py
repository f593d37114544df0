"""What runs in the user's environment: zygote, supervisor, scheduler process and local workers of one cluster.

Runs by path with any Python that has ``distributed`` (see ``__main__.py``) and imports nothing else of this project.
``docs/reference/control-protocol.md`` is the contract with the keeper.
"""
