"""What airspeed velocity lacks: labels that are true, a report, a page, a run without network."""
