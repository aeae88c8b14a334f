"""A trained network decomposed under a budget."""
