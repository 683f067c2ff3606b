"""Options that several classes share: the kernel's by name, deadlines, paths."""
