"""What the system is: plain, synchronous data. No I/O here."""
