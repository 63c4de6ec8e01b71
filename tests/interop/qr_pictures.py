"""Makes pictures of QR codes, hard and plain ones, the same ones every time.

    qr_pictures.py FOLDER [--count N]

writes the pictures into FOLDER, and `expected.tsv`: kind, file, and the texts in it. `qr_readers.py` compares readers on
them. Needs the packages qrcode, pillow, numpy and opencv-python-headless.
"""

import argparse
import pathlib
import random

import cv2
import numpy as np
import qrcode
from PIL import Image, ImageDraw, ImageFont

HARD = ["rotated", "skewed", "blurred", "noisy", "jpeg", "low-contrast", "logo", "mixed"]
PLAIN = ["clean", "inverted", "transparent", "styled", "several", "screenshot", "webp"]
LEVELS = [
    qrcode.constants.ERROR_CORRECT_L,
    qrcode.constants.ERROR_CORRECT_M,
    qrcode.constants.ERROR_CORRECT_Q,
    qrcode.constants.ERROR_CORRECT_H,
]


def text(dice):
    """An enrolment link as services make them, short or long."""
    seed = "".join(dice.choice("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567") for _ in range(dice.choice([16, 26, 32, 32, 52])))
    issuer = dice.choice(["GitHub", "Acme", "Example%20Bank", "Amazon%20Web%20Services", "Proton"])
    name = dice.choice(["ada", "ada@example.com", "grace.hopper%40navy.example.org", "root-account-mfa-device@123456789012"])
    more = dice.choice(["", "", f"&issuer={issuer}", f"&issuer={issuer}&algorithm=SHA1&digits=6&period=30"])
    return f"otpauth://totp/{issuer}:{name}?secret={seed}{more}"


def modules(what, level):
    code = qrcode.QRCode(error_correction=level, border=0, box_size=1)
    code.add_data(what)
    code.make(fit=True)
    return np.array(code.get_matrix(), dtype=bool)


def drawn(what, dice, level=None, module=None, quiet=4):
    """A code as grey pixels, black on white, with its quiet zone."""
    dark = modules(what, dice.choice(LEVELS) if level is None else level)
    module = module or dice.choice([3, 4, 5, 6, 8])
    grey = np.where(np.pad(dark, quiet), 0, 255).astype(np.uint8)
    return np.kron(grey, np.ones((module, module), np.uint8))


def on_page(grey, dice, around=0.35):
    """The code somewhere on a larger page with lines of text."""
    high, wide = grey.shape
    page = Image.new("L", (int(wide * (1 + 2 * around)), int(high * (1 + 2 * around))), 255)
    pen = ImageDraw.Draw(page)
    font = ImageFont.load_default()
    for y in range(4, page.height, 18):
        line = " ".join(dice.choice(["Scan", "this", "code", "with", "your", "app", "or", "enter", "the", "key"]) for _ in range(60))
        pen.text((4, y), line, fill=dice.choice([0, 60, 120]), font=font)
    left, top = dice.randint(0, page.width - wide), dice.randint(0, page.height - high)
    page.paste(Image.fromarray(grey), (left, top))
    return np.array(page)


def rotated(grey, dice, angle=None):
    angle = dice.uniform(0, 360) if angle is None else angle
    high, wide = grey.shape
    side = int(np.hypot(high, wide)) + 8
    turn = cv2.getRotationMatrix2D((wide / 2, high / 2), angle, 1)
    turn[:, 2] += [(side - wide) / 2, (side - high) / 2]
    return cv2.warpAffine(grey, turn, (side, side), flags=cv2.INTER_LINEAR, borderValue=255)


def skewed(grey, dice, strength=None):
    high, wide = grey.shape
    strength = dice.uniform(0.05, 0.28) if strength is None else strength
    corners = np.float32([[0, 0], [wide, 0], [wide, high], [0, high]])
    moved = corners + np.float32([[dice.uniform(-1, 1) * strength * wide, dice.uniform(-1, 1) * strength * high] for _ in range(4)])
    moved -= moved.min(axis=0) - 6
    size = tuple(int(n) + 12 for n in moved.max(axis=0))
    return cv2.warpPerspective(grey, cv2.getPerspectiveTransform(corners, moved), size, borderValue=255)


def blurred(grey, dice, module, strength=None):
    strength = dice.uniform(0.3, 0.75) if strength is None else strength
    if dice.random() < 0.3:
        length = max(3, int(module * strength * 2) | 1)
        kernel = np.zeros((length, length), np.float32)
        kernel[length // 2, :] = 1 / length
        if dice.random() < 0.5:
            kernel = kernel.T
        return cv2.filter2D(grey, -1, kernel, borderType=cv2.BORDER_REPLICATE)
    return cv2.GaussianBlur(grey, (0, 0), module * strength)


def noisy(grey, dice, strength=None):
    numbers = np.random.default_rng(dice.getrandbits(32))
    strength = dice.uniform(20, 70) if strength is None else strength
    if dice.random() < 0.4:
        specks = numbers.random(grey.shape)
        share = strength / 600
        out = grey.copy()
        out[specks < share / 2] = 0
        out[specks > 1 - share / 2] = 255
        return out
    return np.clip(grey + numbers.normal(0, strength, grey.shape), 0, 255).astype(np.uint8)


def squeezed(grey, quality):
    coded = cv2.imencode(".jpg", grey, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return cv2.imdecode(coded, cv2.IMREAD_GRAYSCALE)


def faint(grey, dice, least=14, most=90):
    """Little contrast, and light that falls off to one side."""
    between = dice.randint(least, most)
    low = dice.randint(20, 235 - between)
    high, wide = grey.shape
    slope = dice.uniform(-0.5, 0.5) * dice.choice([0, 1, 1])
    light = 1 + slope * (np.linspace(-0.5, 0.5, wide)[None, :] + np.linspace(-0.5, 0.5, high)[:, None])
    return np.clip((low + grey / 255 * between) * light, 0, 255).astype(np.uint8)


def with_logo(grey, dice, module):
    high, wide = grey.shape
    inner = wide - 8 * module
    side = int(inner * dice.uniform(0.18, 0.30))
    image = Image.fromarray(grey).convert("L")
    pen = ImageDraw.Draw(image)
    left, top = (wide - side) // 2, (high - side) // 2
    box = [left, top, left + side, top + side]
    shape = dice.choice([pen.rectangle, pen.ellipse])
    shape(box, fill=dice.choice([255, 255, 230]))
    inset = side // 6
    shape([left + inset, top + inset, left + side - inset, top + side - inset], fill=dice.choice([0, 40, 90, 140]))
    return np.array(image)


def hard(kind, dice):
    what = text(dice)
    module = dice.choice([3, 4, 5, 6, 8])
    level = LEVELS[3] if kind == "logo" else dice.choice(LEVELS)
    grey = drawn(what, dice, level, module)
    if kind == "rotated":
        out = rotated(grey, dice)
    elif kind == "skewed":
        out = skewed(grey, dice)
    elif kind == "blurred":
        out = blurred(grey, dice, module)
    elif kind == "noisy":
        out = noisy(grey, dice)
    elif kind == "jpeg":
        out = cv2.resize(grey, None, fx=dice.uniform(0.55, 1), fy=dice.uniform(0.55, 1), interpolation=cv2.INTER_AREA)
        out = squeezed(out, dice.randint(3, 25))
    elif kind == "low-contrast":
        out = faint(grey, dice)
    elif kind == "logo":
        out = with_logo(grey, dice, module)
        if dice.random() < 0.5:
            out = rotated(out, dice, dice.uniform(-20, 20))
    else:
        out = on_page(grey, dice)
        out = skewed(out, dice, dice.uniform(0.02, 0.12))
        out = rotated(out, dice, dice.uniform(-30, 30))
        out = blurred(out, dice, module, dice.uniform(0.1, 0.4))
        out = faint(out, dice, 60, 140)
        out = noisy(out, dice, dice.uniform(3, 12))
        out = squeezed(out, dice.randint(30, 80))
    if kind != "mixed" and dice.random() < 0.4:
        out = np.pad(out, dice.randint(5, 120), constant_values=int(out[0, 0]))
    return out, [what]


def styled(what, dice):
    """Dots and rounded eyes in colour, as services draw them."""
    dark = modules(what, LEVELS[dice.choice([1, 2, 3])])
    module, scale, size = dice.choice([8, 10, 12]), 4, dark.shape[0]
    side = (size + 8) * module * scale
    ink = dice.choice([(20, 40, 120), (90, 0, 110), (0, 90, 60), (0, 0, 0)])
    image = Image.new("RGB", (side, side), dice.choice([(255, 255, 255), (245, 240, 230)]))
    pen = ImageDraw.Draw(image)
    eye = lambda x, y: any(a <= x < a + 7 and b <= y < b + 7 for a, b in ((0, 0), (size - 7, 0), (0, size - 7)))
    step = module * scale
    spare = dice.choice([0, 0.08, 0.12]) * step
    for y in range(size):
        for x in range(size):
            if dark[y, x] and not eye(x, y):
                left, top = (x + 4) * step, (y + 4) * step
                pen.ellipse([left + spare, top + spare, left + step - spare, top + step - spare], fill=ink)
    for x, y in ((0, 0), (size - 7, 0), (0, size - 7)):
        left, top = (x + 4) * step, (y + 4) * step
        round_by = dice.choice([0, 1, 2]) * step
        paper = image.getpixel((0, 0))
        pen.rounded_rectangle([left, top, left + 7 * step, top + 7 * step], round_by, fill=ink)
        pen.rounded_rectangle([left + step, top + step, left + 6 * step, top + 6 * step], round_by * 0.7, fill=paper)
        pen.rounded_rectangle([left + 2 * step, top + 2 * step, left + 5 * step, top + 5 * step], round_by * 0.5, fill=ink)
    return image.resize((side // scale, side // scale), Image.LANCZOS)


def screenshot(what, dice):
    wide, high = dice.choice([(1280, 720), (1920, 1080), (2560, 1440), (3024, 1964), (3840, 2160)])
    is_dark = dice.random() < 0.4
    page = Image.new("RGB", (wide, high), (24, 26, 30) if is_dark else (250, 250, 252))
    pen = ImageDraw.Draw(page)
    for y in range(10, high, 22):
        for x in range(10, wide - 200, 260):
            pen.text((x, y), "Set up two-factor authentication now", fill=(200, 200, 200) if is_dark else (40, 40, 40))
    for _ in range(40):
        x, y = dice.randint(0, wide), dice.randint(0, high)
        pen.rectangle([x, y, x + dice.randint(8, 300), y + dice.randint(8, 60)], fill=tuple(dice.randint(0, 255) for _ in range(3)))
    grey = drawn(what, dice, LEVELS[1], dice.choice([3, 4, 5, 6]))
    if is_dark and dice.random() < 0.5:
        grey = 255 - grey
    code = Image.fromarray(grey).convert("RGB")
    page.paste(code, (dice.randint(0, wide - code.width), dice.randint(0, high - code.height)))
    return page


def plain(kind, dice):
    what = text(dice)
    if kind == "styled":
        return styled(what, dice), [what]
    if kind == "screenshot":
        return screenshot(what, dice), [what]
    if kind == "several":
        texts = sorted({text(dice) for _ in range(dice.randint(2, 5))})
        codes = [drawn(one, dice, LEVELS[1], 4) for one in texts]
        side = max(code.shape[0] for code in codes)
        return np.hstack([np.pad(code, ((0, side - code.shape[0]), (0, 20)), constant_values=255) for code in codes]), texts
    grey = drawn(what, dice)
    if kind == "inverted":
        return 255 - grey, [what]
    if kind == "transparent":
        ink = np.zeros((*grey.shape, 4), np.uint8)
        # A dark code on a transparent ground.
        ink[..., :3] = dice.choice([0, 30])
        ink[..., 3] = 255 - grey
        return ink, [what]
    return grey, [what]


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("folder", type=pathlib.Path)
    arguments.add_argument("--count", type=int, default=1000, help="how many hard ones")
    arguments = arguments.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    expected = []
    wanted = [(kind, arguments.count // len(HARD)) for kind in HARD] + [(kind, arguments.count // 33) for kind in PLAIN]
    for kind, count in wanted:
        for nth in range(count):
            dice = random.Random(f"{kind} {nth}")
            picture, texts = (hard if kind in HARD else plain)(kind, dice)
            image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
            ending = {"jpeg": "jpg", "webp": "webp"}.get(kind, "png")
            name = f"{kind}-{nth:03}.{ending}"
            options = {"quality": 95} if ending == "jpg" else {"lossless": nth % 2 == 0} if ending == "webp" else {}
            image.save(arguments.folder / name, **options)
            expected.append("\t".join([kind, name, *texts]))
    (arguments.folder / "expected.tsv").write_text("\n".join(expected) + "\n")


main()
