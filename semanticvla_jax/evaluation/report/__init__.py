"""The report of one or several evaluations: one self-contained page, a text and a JSON file."""
