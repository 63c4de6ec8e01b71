"""Compares readers of QR codes on the pictures that `qr_pictures.py` made.

    qr_readers.py FOLDER [READER…]

A reader is `zbarimg`, `zxing-cpp`, or a program that takes files as arguments and prints `file TAB text` for each code
(`cargo run --release --example qr_texts`). Prints for each kind how many pictures were read right, and how many wrong.
Of several codes in a picture all must be read.
"""

import collections
import pathlib
import subprocess
import sys
import time


def by_zbarimg(folder, files):
    for file in files:
        ran = subprocess.run(["zbarimg", "-q", "--raw", "-Sdisable", "-Sqrcode.enable", folder / file], capture_output=True)
        yield file, ran.stdout.decode(errors="replace").splitlines()


def by_zxing(folder, files):
    import zxingcpp
    from PIL import Image

    for file in files:
        image = Image.open(folder / file)
        if image.mode in ("LA", "RGBA"):
            white = Image.new("RGBA", image.size, "white")
            image = Image.alpha_composite(white, image.convert("RGBA"))
        found = zxingcpp.read_barcodes(image.convert("L"), formats=zxingcpp.BarcodeFormat.QRCode)
        yield file, [code.text for code in found]


def by_program(program):
    def read(folder, files):
        ran = subprocess.run([program, *[folder / file for file in files]], capture_output=True, check=True)
        texts = collections.defaultdict(list)
        for line in ran.stdout.decode(errors="replace").splitlines():
            file, text = line.split("\t", 1)
            texts[pathlib.Path(file).name].append(text)
        return [(file, texts[file]) for file in files]

    return read


def main():
    folder = pathlib.Path(sys.argv[1])
    rows = [line.split("\t") for line in (folder / "expected.tsv").read_text().splitlines()]
    kinds = list(dict.fromkeys(row[0] for row in rows))
    expected = {file: (kind, sorted(texts)) for kind, file, *texts in rows}
    for reader in sys.argv[2:] or ["zbarimg", "zxing-cpp"]:
        read = {"zbarimg": by_zbarimg, "zxing-cpp": by_zxing}.get(reader) or by_program(reader)
        right, wrong, missed = collections.Counter(), collections.Counter(), []
        begun = time.monotonic()
        for file, texts in read(folder, list(expected)):
            kind, wanted = expected[file]
            if sorted(set(texts)) == wanted:
                right[kind] += 1
            elif any(text not in wanted for text in texts):
                wrong[kind] += 1
            else:
                missed.append(file)
        took = (time.monotonic() - begun) / len(expected) * 1000
        print(f"{reader}: {took:.0f} ms a picture")
        for kind in kinds:
            of = sum(1 for known, _ in expected.values() if known == kind)
            print(f"  {kind:14} {right[kind] / of:7.1%} of {of}, {wrong[kind]} wrong")
        print(f"  missed: {' '.join(missed[:400])}", file=sys.stderr)


main()
