"""What tests share: small experiments, deliberately broken plug-ins, and ways to kill, damage and observe."""
