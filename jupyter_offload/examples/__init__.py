"""Inputs for the tutorial notebooks."""
