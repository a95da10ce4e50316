"""Makes the small demo SDXL pipeline and its LoRAs from nothing but drawn shapes."""
