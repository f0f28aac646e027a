"""`gest-stream bench`: where each millisecond goes, what it costs, and how good the masks are, in one record.

record.py      what a record holds, and its JSON schema      figures.py   samples to percentiles, blocks, slopes
conditions.py  machine, versions, commit                     clips.py     what is played: rendered once, or a user's
quality.py     masks against the truth of rendered clips     stages.py live.py lossless.py scale.py scored.py: the parts
run.py         the parts one after the other                 compare.py plots.py: two records, pictures
"""
