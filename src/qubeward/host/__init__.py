"""The operating system: programs, files, figures."""
