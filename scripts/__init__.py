"""What people and CI run; nothing of the hospital imports from here."""
