"""What writes the generated pages of the documentation, and draws its diagrams, charts and pictures."""
