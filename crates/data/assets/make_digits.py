"""Packs the 1,797 handwritten digits into digits.bin.

Made with Python 3, NumPy 2.4.6 and scikit-learn 1.9.1, whose `digits.csv.gz` holds one picture a
row: 64 pixel values from 0 to 16, row by row, and the label. The output is a zlib stream of all
the pixels, one byte each, followed by all the labels, one byte each.

    python make_digits.py [digits.csv.gz]
"""

import gzip
import os
import sys
import zlib

import numpy as np


def installed_csv():
    import sklearn.datasets

    return os.path.join(os.path.dirname(sklearn.datasets.__file__), "data", "digits.csv.gz")


def main():
    source = sys.argv[1] if len(sys.argv) > 1 else installed_csv()
    with gzip.open(source) as file:
        rows = np.loadtxt(file, delimiter=",").astype(np.uint8)
    assert rows.shape == (1797, 65) and rows[:, :64].max() == 16 and rows[:, 64].max() == 9
    raw = rows[:, :64].tobytes() + rows[:, 64].tobytes()
    folder = os.path.dirname(os.path.abspath(__file__))
    with open(os.path.join(folder, "digits.bin"), "wb") as file:
        file.write(zlib.compress(raw, 9))
    crc = zlib.crc32(raw)
    counts = np.bincount(rows[:, 64]).tolist()
    print(f"pixel sum {int(rows[:, :64].sum())}, crc32 {crc:#010x}, counts {counts}")


if __name__ == "__main__":
    main()
