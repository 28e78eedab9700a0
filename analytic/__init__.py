"""The analytic track: generators whose collapse is known in closed form. One run simulates thousands of independent chains."""
