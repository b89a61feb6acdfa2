"""Manage the virtual machines of a Linux host through the Qubes Admin API."""

__version__ = "0.1.0"
