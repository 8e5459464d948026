"""Makes the references of package photo with Pillow.

    python make.py                     photos.json: synthetic files of every kind and Pillow's pixels
    python make.py SHARED/data         samples.tsv as well: Pillow's pixels at random places of real photos

Needs numpy and pillow==13.0.0.
"""

import base64
import glob
import io
import json
import os
import struct
import sys
import warnings
import zlib

import numpy as np
from PIL import Image, ImageOps

warnings.simplefilter("ignore")
HERE = os.path.dirname(os.path.abspath(__file__))
rng = np.random.default_rng(20)


def decode(file):
    with Image.open(file) as im:
        return np.asarray(ImageOps.exif_transpose(im).convert("RGB"))


def waves(w, h, channels=3):
    y, x = np.mgrid[0:h, 0:w]
    a = [127 + 120 * np.sin(x / 4 + 2 * k + y / 7) * np.cos(y / 3 - k) for k in range(channels)]
    return np.clip(np.stack(a, -1) + rng.normal(0, 8, (h, w, channels)), 0, 255).astype(np.uint8)


def blocks(w, h, side=16):
    """Random colours in squares of a whole JPEG unit, which every inverse DCT decodes to the same bytes."""
    a = rng.integers(0, 256, (-(-h // side), -(-w // side), 3)).astype(np.uint8)
    return np.kron(a, np.ones((side, side, 1), np.uint8))[:h, :w].copy()


def save(a, format, mode=None, **options):
    f = io.BytesIO()
    if format == "JPEG":
        options.setdefault("optimize", True)  # smaller tables
    (a if isinstance(a, Image.Image) else Image.fromarray(a, mode)).save(f, format, **options)
    return f.getvalue()


cases = []


def case(name, data, tolerance=0):
    a = decode(io.BytesIO(data))
    cases.append({
        "name": name, "file": base64.b64encode(data).decode(), "width": a.shape[1], "height": a.shape[0],
        "pixels": base64.b64encode(zlib.compress(a.tobytes(), 9)).decode(), "tolerance": tolerance})


def resampled(w, h, factors, source):
    """A JPEG with sampling factors that Pillow can't write: one with as many blocks in a unit, its header changed."""
    mcu_w, mcu_h, subsampling, old = {
        0x12: (8, 16, 1, 0x21), 0x41: (32, 8, 2, 0x22)}[factors]
    units = -(-w // mcu_w) * -(-h // mcu_h)
    data = bytearray(save(source(16 * units, 8 if subsampling == 1 else 16), "JPEG", quality=95, subsampling=subsampling))
    sof = data.index(b"\xff\xc0")
    assert data[sof + 11] == old
    data[sof + 5:sof + 9] = struct.pack(">HH", h, w)
    data[sof + 11] = factors
    return bytes(data)


def jpegs():
    sizes = [(1, 1), (3, 2), (4, 5), (5, 4), (6, 7), (16, 16), (33, 17), (37, 50)]
    for source in blocks, waves:
        for w, h in sizes if source is blocks else sizes[4:7]:
            for name, subsampling in ("444", 0), ("422", 1), ("420", 2):
                case(f"{source.__name__}-{name}-{w}x{h}.jpg",
                     save(source(w, h), "JPEG", quality=95, subsampling=subsampling))
            for name, factors, tolerance in ("440", 0x12, 0), ("411", 0x41, 3 if source is waves else 0):
                case(f"{source.__name__}-{name}-{w}x{h}.jpg", resampled(w, h, factors, source), tolerance)
    a = waves(29, 21, 4)
    case("gray.jpg", save(a[..., 0].copy(), "JPEG"))
    case("progressive.jpg", save(a[..., :3].copy(), "JPEG", progressive=True))
    case("restart.jpg", save(a[..., :3].copy(), "JPEG", restart_marker_blocks=1))
    case("rgb.jpg", save(a[..., :3].copy(), "JPEG", keep_rgb=True), 1)
    cmyk = save(a, "JPEG", "CMYK", quality=90)
    case("cmyk.jpg", cmyk, 1)
    adobe = cmyk.index(b"\xff\xee")
    ycck = bytearray(cmyk)
    ycck[adobe + 15] = 2
    case("ycck.jpg", bytes(ycck), 3)
    case("cmyk-no-adobe.jpg", cmyk[:adobe] + cmyk[adobe + 16:], 1)


def one_by_one(w, h, factors):
    """A sequential JPEG that has a scan for each component, put together of grey ones."""
    def gray(w, h):
        data = save(waves(w, h, 1)[..., 0].copy(), "JPEG", quality=90, optimize=False)
        start = data.index(b"\xff\xda")
        return data[:start], data[start + 10:-2]
    half_w, half_h = -(-w // (factors >> 4)), -(-h // (factors & 15))
    head, luma = gray(w, h)
    scans = luma, gray(half_w, half_h)[1], gray(half_w, half_h)[1]
    sof = head.index(b"\xff\xc0")
    frame = struct.pack(">HHBHHB", 0xffc0, 17, 8, h, w, 3) + bytes([1, factors, 0, 2, 0x11, 0, 3, 0x11, 0])
    data = head[:sof] + frame + head[sof + 13:]
    for i, scan in enumerate(scans):
        data += struct.pack(">HHBBBBBB", 0xffda, 8, 1, i + 1, 0, 0, 63, 0) + scan
    return data + b"\xff\xd9"


def scans():
    for name, subsampling, w, h in ("444", 0, 33, 17), ("422", 1, 37, 21), ("420", 2, 40, 30):
        case(f"progressive-{name}-{w}x{h}.jpg", save(waves(w, h), "JPEG", quality=90, subsampling=subsampling, progressive=True))
    case("progressive-gray.jpg", save(waves(29, 21)[..., 0].copy(), "JPEG", progressive=True))
    case("restart-420.jpg", save(waves(40, 30), "JPEG", quality=60, restart_marker_blocks=3))
    for name, factors in ("444", 0x11), ("420", 0x22), ("440", 0x12):
        case(f"scans-{name}.jpg", one_by_one(35, 27, factors))
    # image/jpeg refuses this one: it counts the units of a scan of one component otherwise.
    case("progressive-restart.jpg", save(waves(35, 27), "JPEG", quality=75, progressive=True, restart_marker_blocks=2))


def png(depth, color, rows, extra=b""):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    header = struct.pack(">IIBBBBB", 11, len(rows), depth, color, 0, 0, 0)
    palette = chunk(b"PLTE", extra) if extra else b""
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + palette
            + chunk(b"IDAT", zlib.compress(b"".join(b"\0" + r for r in rows))) + chunk(b"IEND", b""))


def random_rows(n):
    return [rng.integers(0, 256, n).astype(np.uint8).tobytes() for _ in range(7)]


def pngs():
    a = waves(19, 13, 4)
    p = Image.fromarray(a[..., :3].copy()).quantize(17)
    for mode, n in ("L", 1), ("LA", 2), ("RGB", 3), ("RGBA", 4):
        case(f"{mode}.png", save(np.squeeze(a[..., :n]).copy(), "PNG", mode))
    case("P.png", save(p, "PNG"))
    case("P-transparent-index.png", save(p, "PNG", transparency=3))
    case("P-transparent-bytes.png", save(p, "PNG", transparency=bytes(range(0, 170, 10))))
    case("P-too-short.png", png(8, 3, [bytes(r % 4 for r in row) for row in random_rows(11)], b"\x10\x20\x30\x40\x50\x60"))
    case("RGB-transparent.png", save(a[..., :3].copy(), "PNG", transparency=tuple(map(int, a[3, 3, :3]))))
    case("L-transparent.png", save(a[..., 0].copy(), "PNG", transparency=int(a[3, 3, 0])))
    deep = rng.integers(0, 600, (13, 19)).astype(np.uint16)
    case("I16.png", save(deep, "PNG"))
    case("I16-transparent.png", save(deep, "PNG", transparency=int(deep[4, 4])))
    for name, color, samples in ("LA16", 4, 2), ("RGB16", 2, 3), ("RGBA16", 6, 4):
        case(f"{name}.png", png(16, color, random_rows(11 * 2 * samples)))
    for depth in 1, 2, 4:
        case(f"L{depth}.png", png(depth, 0, random_rows((11 * depth + 7) // 8)))


def gifs():
    a = waves(19, 13)
    p = Image.fromarray(a).quantize(16)
    files = {
        "P": save(a, "GIF"), "L": save(a[..., 0].copy(), "GIF"), "transparent": save(p, "GIF", transparency=5),
        "interlaced": save(p, "GIF", interlace=True),
        "animated": save(p, "GIF", save_all=True, append_images=[p.rotate(180)])}
    for name, data in files.items():
        case(f"{name}.gif", data)
    for name in "P", "transparent":
        data = bytearray(files[name])
        data[6:10] = struct.pack("<HH", 27, 20)
        image = 13 + (3 << (1 + (data[10] & 7)))
        while data[image] == 0x21:
            image += 2
            while data[image]:
                image += 1 + data[image]
            image += 1
        data[image + 1:image + 5] = struct.pack("<HH", 5, 3)
        case(f"{name}-on-canvas.gif", bytes(data))


def webps():
    for w, h in (1, 1), (2, 2), (3, 5), (16, 16), (33, 17):
        for quality in 20, 90:
            case(f"lossy-{quality}-{w}x{h}.webp", save(waves(w, h), "WEBP", quality=quality))
    a = waves(19, 13, 4)
    a[3:6, :, 3] = 0
    case("lossless.webp", save(a[..., :3].copy(), "WEBP", lossless=True))
    case("lossless-alpha.webp", save(a, "WEBP", lossless=True, exact=True))
    case("lossy-alpha.webp", save(a, "WEBP", quality=80))


def others():
    a = waves(19, 13, 4)
    p = Image.fromarray(a[..., :3].copy()).quantize(16)
    bit = Image.fromarray(a[..., 0].copy()).convert("1")
    for mode, n in ("L", 1), ("RGB", 3), ("RGBA", 4):
        b = np.squeeze(a[..., :n]).copy()
        case(f"{mode}.bmp", save(b, "BMP", mode))
        for compression in None, "tiff_lzw", "tiff_adobe_deflate", "packbits":
            case(f"{mode}-{compression}.tiff", save(b, "TIFF", mode, compression=compression))
    case("P.bmp", save(p, "BMP"))
    case("1.bmp", save(bit, "BMP"))
    case("P.tiff", save(p, "TIFF"))
    case("1.tiff", save(bit, "TIFF"))
    deep = rng.integers(0, 600, (13, 19)).astype(np.uint16)
    case("I16.tiff", save(deep, "TIFF"))
    case("L.pgm", save(a[..., 0].copy(), "PPM"))
    case("RGB.ppm", save(a[..., :3].copy(), "PPM"))
    case("I16.pgm", save(deep, "PPM"))
    case("plain.ppm", b"P3 # a comment\n# and one more\n3 2\n100\n" + b" ".join(b"%d" % v for v in rng.integers(0, 101, 18)))
    case("plain.pgm", b"P2\n3\t2 1000\n" + b"\n".join(b"%d" % v for v in rng.integers(0, 1001, 6)))
    case("max100.ppm", b"P6 3 2 100\n" + bytes(rng.integers(0, 140, 18).astype(np.uint8)))
    case("max999.ppm", b"P6 3 2 999\n" + rng.integers(0, 1000, 18).astype(">u2").tobytes())
    case("max999.pgm", b"P5 3 2 999\n" + rng.integers(0, 1000, 6).astype(">u2").tobytes())


def orientations():
    a = blocks(48, 32)
    xmp = (b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
           b'<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/></rdf:RDF></x:xmpmeta>')

    def exif(orientation=None):
        e = Image.Exif()
        e[0x10f] = "maker"
        if orientation is not None:
            e[0x112] = orientation
        return e

    for o in range(10):
        case(f"orientation-{o}.jpg", save(a, "JPEG", quality=95, exif=exif(o)))
    small = a[::4, ::4].copy()
    for o in 6, 7:
        case(f"orientation-{o}.png", save(small, "PNG", exif=exif(o)))
        case(f"orientation-{o}.webp", save(small, "WEBP", lossless=True, exif=exif(o)))
        case(f"orientation-{o}.tiff", save(small, "TIFF", tiffinfo={0x112: o}))
    case("xmp-6.jpg", save(a, "JPEG", quality=95, xmp=xmp))
    case("xmp-6.webp", save(small, "WEBP", lossless=True, xmp=xmp))
    case("xmp-6-exif-8.jpg", save(a, "JPEG", quality=95, xmp=xmp, exif=exif(8)))
    case("xmp-6-exif-none.jpg", save(a, "JPEG", quality=95, xmp=xmp, exif=exif()))


def places(seed, width, height, n=48):
    """n pseudo-random pixels; photo_test.go has the same generator (Numerical Recipes' ranqd1)."""
    for _ in range(n):
        xy = []
        for side in width, height:
            seed = (seed * 1664525 + 1013904223) % 2**32
            xy.append((seed >> 8) % side)
        yield xy


def samples(data):
    photos = sorted(glob.glob(f"{data}/pizza_steak_sushi/*/*/*.jpg") + glob.glob(f"{data}/imagenet_samples/*.JPEG"))
    with open(f"{HERE}/samples.tsv", "w") as f:
        for i, path in enumerate(photos):
            a = decode(path)
            h, w, _ = a.shape
            values = bytes(int(v) for x, y in places(i, w, h) for v in a[y, x])
            print(os.path.relpath(path, data), w, h, base64.b64encode(values).decode(), sep="\t", file=f)


for make in jpegs, pngs, gifs, webps, others, orientations, scans:
    make()
with open(f"{HERE}/photos.json", "w") as f:
    f.write("[\n" + ",\n".join(map(json.dumps, cases)) + "\n]\n")
if len(sys.argv) > 1:
    samples(sys.argv[1])
