"""Stages that act on the outside world: `http_post:<url>` and `exec:<program>|<arg>|...`.

Both pass their messages through. Whether they act is the plan's word (`RunPlan.effects`) and the
run's lease; how often and how long they try is the deployment's (`[actions]`).
"""
