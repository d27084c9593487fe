"""SemanticVLA in Flax linen: seven slots {siglip, dino, fuser, pruners, llm, coupler, head}."""
