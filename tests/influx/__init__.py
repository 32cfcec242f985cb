"""An InfluxDB 2.x of the tests' own, as strict as the real one, that can be made to fail."""
