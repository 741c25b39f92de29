"""What an evaluation looks like: charts, panels, the HTML page, TensorBoard. Nothing is
computed anew."""
