"""What `influxdb_client.py` says to InfluxDB 2.x, and understands of its answers."""
