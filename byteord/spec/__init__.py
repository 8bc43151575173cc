"""What is computed: the spec document, its canonical form and its validation."""
