"""The analytic track: generators whose collapse is known in closed form, thousands of chains at once through the ordinary loop."""
