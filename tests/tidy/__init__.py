"""How the tree is kept: lengths, words, layers, and that the documentation tells the truth."""
