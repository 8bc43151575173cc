"""LaneGraph specs: their keys, lowering, rules, canonical form and picture."""
