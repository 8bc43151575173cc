"""What a run asks of its host, whether it got it, and what each shortfall costs."""
