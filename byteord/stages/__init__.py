"""The stage catalogue and the loaders of each kind of stage."""
