"""Makes event.bin: one TFRecord with one scalar event, written by tensorboard 2.x's own RecordWriter."""
import io
import pathlib

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

buffer = io.BytesIO()
value = Summary.Value(tag="train/loss", simple_value=0.125)
event = Event(wall_time=1_700_000_000.25, step=300, summary=Summary(value=[value]))
RecordWriter(buffer).write(event.SerializeToString(deterministic=True))
pathlib.Path(__file__).with_name("event.bin").write_bytes(buffer.getvalue())
