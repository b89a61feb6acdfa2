"""The program's commands: click turns words into calls, rich shows what came of them."""
