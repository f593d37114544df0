"""The daemon that remembers intent and acts."""
