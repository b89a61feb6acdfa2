"""What the how-tos show: real files, which the tests run."""
