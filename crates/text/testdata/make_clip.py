"""Writes ../data/clip_merges.txt.gz, the merges of CLIP's vocabulary, from PyPI's openai-clip 1.0.1.

    python make_clip.py PATH/TO/openai-clip-1.0.1.tar.gz

The package's `bpe_simple_vocab_16e6.txt.gz` holds 262,145 merges, of which CLIP uses the first 48,894; only those are
kept, without the line of the version. OpenAI's CLIP is under the MIT licence, see ../data/LICENSE-CLIP.
"""

import gzip
import pathlib
import sys
import tarfile

with tarfile.open(sys.argv[1]) as archive:
    name = "openai-clip-1.0.1/clip/bpe_simple_vocab_16e6.txt.gz"
    text = gzip.decompress(archive.extractfile(name).read()).decode()
lines = text.split("\n")[1 : 49152 - 256 - 2 + 1]
assert len(lines) == 48894 and all(len(line.split(" ")) == 2 for line in lines)
out = pathlib.Path(__file__).parent / "../data/clip_merges.txt.gz"
out.write_bytes(gzip.compress(("\n".join(lines) + "\n").encode(), 9, mtime=0))
