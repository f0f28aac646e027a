"""Fine-tuning of the redetector's and SAM2's networks on a user's own frames, and on rendered ones."""
