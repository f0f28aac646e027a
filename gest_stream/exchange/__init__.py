"""The worker's side of the frame exchange with host plugins; `plugins/PROTOCOL.md` describes it byte for byte."""
