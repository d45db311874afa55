"""Paint regions without naming them; a network learns what tells them apart."""
