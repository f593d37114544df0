"""Real services for tests, as plain processes of this user on loopback: ``python -m tests.stack``.

No container, no root, no service of the host. A part is a package here with ``built()``, ``build()``, ``up(folder)`` and
``down(folder)``; programs are built once into the user's cache.
"""
