"""What any HTTP server needs: authentication, body limits, timeouts, forms, errors."""
