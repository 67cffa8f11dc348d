"""Backends that come with the SDK."""
