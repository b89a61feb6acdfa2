"""What needs no daemon: building kernels and templates."""
