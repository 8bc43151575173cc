"""The files of deploy/, checked by the tools that will read them."""
