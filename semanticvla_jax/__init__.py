"""SemanticVLA in JAX: semantically pruned vision-language-action policies for robots."""
