"""Writes events.json: an event file's bytes as TensorBoard's own writer gives them. With a folder it shows
what TensorBoard reads there instead.

    python events.py
    GRAFT_EVENTS=/tmp/run go test -run TestScalars .. && python events.py /tmp/run
"""

import io
import json
import pathlib
import sys

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

if len(sys.argv) > 1:
    events = EventAccumulator(sys.argv[1]).Reload()
    for tag in events.Tags()["scalars"]:
        print(tag, [(e.step, e.value) for e in events.Scalars(tag)])
    sys.exit()

scalars = [("loss/train", 0, 1.25), ("loss/test", 1, 0.1), ("准确率", 300, 0.96875), ("lr", 2**40, 1e-9)]
file = io.BytesIO()
writer = RecordWriter(file)
writer.write(Event(wall_time=1700000000.25, file_version="brain.Event:2").SerializeToString())
for i, (tag, step, value) in enumerate(scalars):
    summary = Summary(value=[Summary.Value(tag=tag, simple_value=value)])
    writer.write(Event(wall_time=1700000001.5 + i, step=step, summary=summary).SerializeToString())
pathlib.Path(__file__).with_suffix(".json").write_text(json.dumps({"scalars": scalars, "file": file.getvalue().hex()}) + "\n")
