"""What misbehaving clients cost everybody else."""
