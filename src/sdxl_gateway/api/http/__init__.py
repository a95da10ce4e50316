"""What any HTTP server needs: keys, body limits, timeouts, forms, errors."""
