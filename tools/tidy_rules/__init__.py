"""The rules of tools/tidy.py. Each module has check(tree), which yields (path, line, message)."""
