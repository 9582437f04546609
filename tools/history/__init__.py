"""Labels, a report, a page and an offline run for airspeed velocity's results."""
