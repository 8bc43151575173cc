"""Series of the latest doctor report. Pure."""

from __future__ import annotations

from byteord.doctor.model import Report


def put_doctor(page: dict[str, list[str]], report: Report) -> None:
    """Add the state of every check, how many are in each state, and when they were looked at."""
    for check in report.checks:
        labels = f'code="{check.code}",state="{check.state}"'
        page["byteor_doctor_check"].append(f"byteor_doctor_check{{{labels}}} 1")
    for state, count in report.counts().items():
        page["byteor_doctor_checks"].append(f'byteor_doctor_checks{{state="{state}"}} {count}')
    when = f"{report.started_unix_s:.3f}"
    page["byteor_doctor_run_timestamp_seconds"].append(
        f"byteor_doctor_run_timestamp_seconds {when}"
    )
