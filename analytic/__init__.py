"""The analytic track: generators with closed-form laws of collapse. One run simulates thousands of independent chains."""
