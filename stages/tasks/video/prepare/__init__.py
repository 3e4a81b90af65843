"""Raw clips into the sequence store, and which split each goes to."""
