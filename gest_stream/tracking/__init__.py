"""From detections to tracks: association, loss machine, prompts, tracker. No model lives here."""
