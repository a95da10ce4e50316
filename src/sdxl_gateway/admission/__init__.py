"""Says yes or no: an Ask becomes a Recipe with everything decided, or a refusal naming the field."""
