#!/bin/sh
# Makes the demo model and its LoRAs from nothing; run it from the top of the repository.
set -e
export OMP_NUM_THREADS=1
python -m tools.demo_model.text --steps 2000 &
python -m tools.demo_model.vae --steps 2400
wait
python -m tools.demo_model.unet --steps "${UNET_STEPS:-4200}"
python -m tools.demo_model.distil --steps "${DISTIL_STEPS:-1000}"
python -m tools.demo_model.export
python -m tools.demo_model.lora outline &
python -m tools.demo_model.lora sunset
wait
python -m tools.demo_model.lora outline --resume --seed 5 &
python -m tools.demo_model.lora stripes
wait
python -m tools.demo_model.lora outline --resume --steps 1600 --seed 12 &
python -m tools.demo_model.lora stripes --resume --steps 1600 --seed 11
wait
python -m tools.demo_model.evaluate
python -m tools.demo_model.evaluate --lora src/sdxl_gateway/demo_loras/*.safetensors
python -m tools.demo_model.record
python -m tools.demo_model.matte
python -m tools.demo_model.matte_figures
python -m tools.demo_model.upscaler
python -m tools.demo_model.upscaler_figures
