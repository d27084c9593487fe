"""Printed labels: a base colour, a drawing and the product's name.

Positions and lengths are fractions of the label, from its top left corner.
"""

from __future__ import annotations

from PIL import Image, ImageDraw, ImageFont

CREAM, WHITE, BLACK = (250, 240, 205), (248, 248, 246), (30, 28, 28)
RED, GREEN, YELLOW = (206, 32, 34), (40, 120, 52), (250, 204, 40)
BLUE, BROWN, ORANGE = (28, 84, 178), (84, 46, 26), (244, 140, 26)


class Label:
    """A picture that is drawn on."""

    def __init__(self, base, size: tuple[int, int] = (128, 96)):
        self.image = Image.new("RGB", size, base)
        self._draw = ImageDraw.Draw(self.image)

    def rectangle(self, left, top, right, bottom, colour) -> Label:
        width, height = self.image.size
        corners = (left * width, top * height, right * width - 1, bottom * height - 1)
        self._draw.rectangle(corners, fill=colour)
        return self

    def disc(self, x, y, radius, colour) -> Label:
        """A round disc; `radius` is a fraction of the label's height."""
        width, height = self.image.size
        r = radius * height
        box = (x * width - r, y * height - r, x * width + r, y * height + r)
        self._draw.ellipse(box, fill=colour)
        return self

    def text(self, words: str, x, y, height, colour, *, widest: float = 0.94) -> Label:
        """Words centred at (x, y), `height` tall unless that makes them too wide."""
        width, full = self.image.size
        size = height * full
        font = ImageFont.load_default(size=size)
        length = self._draw.textlength(words, font=font)
        if length > widest * width:
            font = ImageFont.load_default(size=size * widest * width / length)
        place = (x * width, y * full)
        self._draw.text(place, words, fill=colour, font=font, anchor="mm", stroke_width=0.6)
        return self


def alphabet_soup() -> Image.Image:
    label = Label(BLUE).rectangle(0, 0.3, 1, 0.74, YELLOW)
    for letter, x, colour in (("A", 0.2, RED), ("B", 0.5, BLUE), ("C", 0.8, GREEN)):
        label.text(letter, x, 0.52, 0.5, colour)
    return label.text("ALPHABET", 0.5, 0.16, 0.24, WHITE).text("SOUP", 0.5, 0.87, 0.24, WHITE).image


def tomato_sauce() -> Image.Image:
    label = Label(RED).rectangle(0, 0.64, 1, 1, GREEN).text("TOMATO", 0.5, 0.16, 0.28, WHITE)
    for x in (0.3, 0.7):
        label.disc(x, 0.46, 0.17, (236, 84, 52)).disc(x, 0.34, 0.06, GREEN)
    return label.text("SAUCE", 0.5, 0.82, 0.28, CREAM).image


def ketchup() -> Image.Image:
    label = Label((192, 24, 24), (128, 128)).rectangle(0.08, 0.3, 0.92, 0.84, WHITE)
    label.disc(0.5, 0.46, 0.11, RED).disc(0.5, 0.36, 0.04, GREEN)
    return label.text("KETCHUP", 0.5, 0.7, 0.2, RED, widest=0.78).image


def salad_dressing() -> Image.Image:
    label = Label((104, 148, 60), (128, 128)).rectangle(0.06, 0.38, 0.94, 0.9, CREAM)
    label.text("SALAD", 0.5, 0.52, 0.2, GREEN).text("DRESSING", 0.5, 0.72, 0.17, GREEN, widest=0.8)
    return label.rectangle(0.06, 0.83, 0.94, 0.9, GREEN).image


def bbq_sauce() -> Image.Image:
    label = Label((70, 30, 18), (128, 128)).rectangle(0.06, 0.36, 0.94, 0.86, ORANGE)
    return label.text("BBQ", 0.5, 0.53, 0.34, BLACK).text("SAUCE", 0.5, 0.76, 0.18, BROWN).image


def wine() -> Image.Image:
    label = Label((24, 44, 26), (128, 96)).rectangle(0.14, 0, 0.86, 1, CREAM)
    label.rectangle(0.14, 0.72, 0.86, 0.8, (150, 30, 44))
    return (
        label.text("VIN", 0.5, 0.26, 0.34, (110, 20, 34)).text("ROUGE", 0.5, 0.55, 0.2, BROWN).image
    )


# A carton's picture: the roof above, then a front (left half) and a side (right half).
CARTON_ROOF, CARTON_FRONT, CARTON_SIDE = (0, 0.02, 1, 0.16), (0, 0.2, 0.5, 1), (0.5, 0.2, 1, 1)


def milk() -> Image.Image:
    label = Label(WHITE, (128, 160)).rectangle(0, 0, 1, 0.2, RED)
    label.text("MILK", 0.25, 0.34, 0.16, RED, widest=0.44)
    for x, y, radius in ((0.1, 0.62, 0.08), (0.32, 0.56, 0.06), (0.4, 0.74, 0.08), (0.2, 0.8, 0.06),
                         (0.62, 0.5, 0.07), (0.88, 0.62, 0.09), (0.7, 0.78, 0.07)):  # fmt: skip
        label.disc(x, y, radius, BLACK)
    label.text("MILK", 0.75, 0.32, 0.12, BLUE, widest=0.44)
    return label.rectangle(0, 0.9, 1, 1, RED).image


def orange_juice() -> Image.Image:
    label = Label(ORANGE, (128, 160)).rectangle(0, 0, 1, 0.2, GREEN)
    for x in (0.25, 0.75):
        label.disc(x, 0.62, 0.17, YELLOW).disc(x, 0.62, 0.14, (255, 170, 50))
        label.disc(x + 0.06, 0.44, 0.03, GREEN)
        label.text("ORANGE", x, 0.3, 0.1, WHITE, widest=0.42)
        label.text("JUICE", x, 0.88, 0.1, WHITE, widest=0.4)
    return label.image


# A flat box's picture: lid and bottom above, the four edges below.
LID, EDGE = (0, 0, 1, 0.72), (0, 0.74, 1, 1)


def butter() -> Image.Image:
    label = Label(YELLOW, (128, 96)).rectangle(0, 0, 1, 0.12, RED).rectangle(0, 0.6, 1, 0.72, RED)
    label.text("BUTTER", 0.5, 0.36, 0.4, RED).rectangle(0, 0.74, 1, 1, (238, 186, 40))
    return label.text("BUTTER", 0.5, 0.87, 0.2, RED).image


def chocolate_pudding() -> Image.Image:
    label = (
        Label(BROWN, (128, 96)).disc(0.16, 0.36, 0.24, CREAM).disc(0.16, 0.36, 0.15, (130, 76, 44))
    )
    label.text("CHOCOLATE", 0.64, 0.24, 0.24, CREAM, widest=0.62)
    label.text("PUDDING", 0.64, 0.5, 0.24, (240, 150, 170), widest=0.6)
    return label.rectangle(0, 0.74, 1, 1, (66, 34, 20)).text("PUDDING", 0.5, 0.87, 0.2, CREAM).image


def cream_cheese() -> Image.Image:
    label = Label(WHITE, (128, 96)).rectangle(0, 0.44, 1, 0.72, (96, 160, 224))
    label.text("CREAM", 0.5, 0.22, 0.34, BLUE).text("CHEESE", 0.5, 0.58, 0.26, WHITE)
    return label.rectangle(0, 0.74, 1, 1, (96, 160, 224)).text("CREAM", 0.5, 0.87, 0.2, WHITE).image


def cookies() -> Image.Image:
    label = Label((200, 48, 40), (128, 128)).text("COOKIES", 0.5, 0.16, 0.24, YELLOW)
    for x, y in ((0.2, 0.5), (0.5, 0.46), (0.8, 0.52)):
        label.disc(x, y, 0.16, (214, 158, 88))
        for dx, dy in ((-0.05, -0.04), (0.06, 0.01), (-0.02, 0.07)):
            label.disc(x + dx, y + dy, 0.025, BROWN)
    return (
        label.rectangle(0, 0.74, 1, 1, (176, 36, 32)).text("COOKIES", 0.5, 0.87, 0.16, YELLOW).image
    )


def keypad() -> Image.Image:
    """The front of a microwave's controls: a clock above twelve keys and a start button."""
    label = Label((44, 46, 50), (48, 112)).rectangle(0.1, 0.05, 0.9, 0.2, (8, 20, 12))
    label.text("12:30", 0.5, 0.125, 0.1, (80, 240, 130))
    for row in range(4):
        for column in range(3):
            left, top = 0.12 + 0.27 * column, 0.27 + 0.13 * row
            label.rectangle(left, top, left + 0.2, top + 0.09, (176, 180, 186))
    return label.rectangle(0.12, 0.82, 0.88, 0.94, (70, 160, 90)).image
