"""The journal and the driver, against a service in this process."""
