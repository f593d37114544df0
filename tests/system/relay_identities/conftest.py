"""Relays that ask real identity providers who asks."""

from __future__ import annotations
