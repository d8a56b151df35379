"""What must stay in step in this tree: each check answers one line for everything that is out of it."""
