"""TF Serving's REST API and a web page for exported models, in one process on one machine."""
