"""Printers of the tables: what can be printed from them is never typed by hand."""
