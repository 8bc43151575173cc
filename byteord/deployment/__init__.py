"""Where bytes come from and go, how a run is carried out, and what the daemon allows."""
